/** A whole training: alone, or as one of many phones. */

import { TransportError } from "../errors.js";
import { codecOf } from "../wire/codecs.js";
import { type FederatedAveraging, termsOf } from "./averaging.js";
import { type Batches, DrawnBatches, InRounds, OwnBatches } from "./batches.js";
import { CohortClient } from "./cohort_client.js";
import { Epoch, type Logs, type OnStep, type Rate } from "./epoch.js";
import { OptionError } from "./errors.js";
import { type Arrays, type Examples, examplesOf, order } from "./examples.js";
import { halfOf } from "./half_vector.js";
import type { TrainingPhone } from "./phone.js";
import { Rounds, type Tell } from "./rounds.js";

/** How to train. */
export interface TrainOptions {
  /** Times that each example is trained on; 1 if not given. */
  readonly epochs?: number;
  /** That of the export if not given. */
  readonly learningRate?: Rate;
  /** Shuffles each epoch; null to keep the order. 0 if not given. */
  readonly seed?: number | null;
  /** Trains one model with other phones. */
  readonly federate?: FederatedAveraging | undefined;
  /** Is awaited after each step. */
  readonly onStep?: OnStep;
  /** Is awaited after each epoch, whose number is from 0. */
  readonly onEpoch?: (epoch: number, logs: Logs) => unknown;
  /** Hears what a phone of a cohort has missed; otherwise the console does. */
  readonly onTrouble?: Tell;
  /**
   * Ends the training after the step that is under way. A phone that waits for
   * others then may wait for up to 20 seconds more.
   */
  readonly signal?: AbortSignal;
}

/** What a training came to. */
export interface History {
  /** Of each epoch that ended. */
  readonly logs: readonly Logs[];
  /** Whether `signal` ended it. */
  readonly stopped: boolean;
}

/**
 * Trains with the server.
 *
 * With `federate` the phones of the server's cohort train one model: this one
 * takes over their half, and has the one of all at the end of each round. It
 * leaves the cohort at the end, so that nobody waits for it: its session is
 * over, and the next message opens another.
 *
 * @param phone A `SplitClient`.
 * @param data What to train on.
 * @throws OptionError If a setting cannot be.
 * @throws QuantizationError If the half changes too much to be averaged.
 * @throws RefusedError If the server refused something; with reason `cohort`
 *   if it has none, or the others train otherwise.
 * @throws TransportError If the server went away.
 */
export async function train(
  phone: TrainingPhone,
  data: Examples | Arrays,
  options: TrainOptions = {},
): Promise<History> {
  const { epochs = 1, seed = 0, federate, signal } = options;
  if (!(Number.isInteger(epochs) && epochs >= 0)) {
    throw new OptionError(
      `Expected a whole number of epochs. Received: ${epochs}.`,
    );
  }
  const examples = examplesOf(data);
  const { learningRate, onStep, onEpoch } = options;
  const epoch = new Epoch(phone, examples, learningRate, onStep);
  const run = async (batches: Batches): Promise<History> => {
    const logs: Logs[] = [];
    try {
      for (let number = 0; number < epochs; number++) {
        epoch.begin();
        const places = order(examples.count, seed, number);
        await batches.epoch(number, places, epoch, signal);
        logs.push(epoch.logs());
        await onEpoch?.(number, epoch.logs());
      }
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason) throw error;
      return { logs, stopped: true };
    }
    return { logs, stopped: false };
  };
  if (!federate) return run(new OwnBatches(phone.description.batch_size));
  return inCohort(phone, examples, federate, options, run);
}

/** Enrolls, trains, and leaves however it ended. */
async function inCohort<T>(
  phone: TrainingPhone,
  examples: Examples,
  federate: FederatedAveraging,
  options: TrainOptions,
  run: (batches: Batches) => Promise<T>,
): Promise<T> {
  const { batch_size: size } = phone.description;
  const terms = termsOf(federate);
  const codec = await codecOf(phone.description.contract.codec);
  const half = await halfOf(phone, terms.batchnorm as "average" | "local");
  const cohort = new CohortClient(phone.conversation, codec, {
    ...{ terms, half, examples: examples.count, capacity: size },
    requireSecure: federate.requireSecure ?? false,
    signal: options.signal,
  });
  const tell = options.onTrouble ?? ((words) => console.warn(words));
  const rounds = new Rounds(cohort, half, tell);
  const batches =
    cohort.info.mode === "merged"
      ? new DrawnBatches(cohort, rounds, terms.every, tell)
      : new InRounds(rounds, terms.every, size);
  let history: T;
  try {
    await cohort.enroll();
    history = await run(batches);
  } catch (error) {
    // A server that is not there would only keep the phone waiting.
    if (!(error instanceof TransportError)) {
      await phone.conversation.goodbye().catch(() => undefined);
    }
    throw error;
  }
  await phone.conversation.goodbye();
  return history;
}
