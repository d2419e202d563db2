/** A phone's side of its cohort. */
import { create } from "@bufbuild/protobuf";
import { ProtocolError, RefusedError, type SplitError } from "../errors.js";
import {
  AskShareSchema,
  type AveragingTerms,
  BeginRoundSchema,
  type CohortInfo,
  ContributionSchema,
  EnrollSchema,
  type MergedStep,
  MergedStepSchema,
  PutHalfSchema,
  type Tensor,
} from "../gen/split_pb.js";
import { momentOf } from "../session.js";
import type { Codec } from "../wire/codecs.js";
import { OptionError } from "./errors.js";
import type { Half } from "./half_vector.js";
import type { Asking } from "./phone.js";
import {
  type Average,
  checkSecure,
  SecureAveraging,
} from "./secure_averaging.js";
import { packVector, unpackVector } from "./vectors.js";

/** At being the first of a cohort whose server is killed. */
const TRIES = 3;
/** Instead of the number of a step: a half is to come before there is one. */
const GIVE_FIRST = -2n;

/** What a phone brings to its cohort. */
export interface Membership {
  /** How halves are averaged. */
  readonly terms: AveragingTerms;
  readonly half: Half;
  /** That it has to train on. */
  readonly examples: number;
  /** The most that it can take in one step. */
  readonly capacity: number;
  /**
   * Whether a server that could read this phone's half is refused. One that
   * says it cannot is held to that in any case.
   */
  readonly requireSecure: boolean;
  /** Ends the waiting for other phones. */
  readonly signal?: AbortSignal | undefined;
}

/** What a phone does in the next step of a merged cohort. */
export interface Share {
  /** Number of the step; -1 if the epoch is over for all. */
  readonly step: number;
  /** The step as a `Forward` says it; none if the phone only listens. */
  readonly merged: MergedStep | undefined;
  /** Examples to take. */
  readonly count: number;
}

/** A phone of a cohort: enrolls, trains in rounds or shares, averages. */
export class CohortClient {
  /** Its number in the cohort. */
  member = -1;
  /** Of its half: how many averages are in it; -1 for one of its own. */
  version = -1n;
  private readonly secure: SecureAveraging | undefined;
  private seen = 0n; // steps of the cohort

  /**
   * @throws OptionError If the server's optimizer would move statistics.
   * @throws RefusedError With reason `cohort`, if the server has none, or one
   *   whose halves it could read though that was not to be.
   */
  constructor(
    private readonly server: Asking,
    private readonly codec: Codec,
    private readonly own: Membership,
  ) {
    const { terms, half, requireSecure } = own;
    if (terms.optimizer && half.statistics) {
      throw new OptionError(
        "Expected a half without statistics, for an optimizer on the averaged " +
          "change: they are no weights, and it would make a variance " +
          "negative. Received: batch normalization in head or tail. Keep it " +
          'to each phone with batchnorm: "local", or leave the optimizer out.',
      );
    }
    if (requireSecure) checkSecure(this.info);
    if (this.info.secure) this.secure = new SecureAveraging(server, codec);
  }

  /** What the server says of the cohort. */
  get info(): CohortInfo {
    const { cohort } = this.server;
    if (cohort) return cohort;
    throw new RefusedError(
      "Expected a server whose phones train one model. Received: one where " +
        "each phone has a half of its own. Start it with serve --cohort " +
        "merged --phones 3, say, or train without averaging.",
      "cohort",
    );
  }

  /**
   * Joins the cohort, and takes over the half that it has.
   *
   * @throws RefusedError With reason `cohort`, if the others average
   *   otherwise, or train another half.
   */
  async enroll(): Promise<void> {
    const { terms, half, examples, capacity, signal } = this.own;
    const value = create(EnrollSchema, {
      terms,
      size: BigInt(half.size),
      layout: half.layout,
      examples: BigInt(examples),
      capacity: BigInt(capacity),
      version: this.version,
    });
    for (let tries = 1; ; tries++) {
      const { message, payload } = await this.server.ask(
        "enrolled",
        { case: "enroll", value },
        undefined,
        signal,
      );
      this.member = message.member;
      try {
        if (message.giveHalf) await this.giveHalf(message.version);
      } catch (error) {
        // A server that was killed since knows nothing of this phone.
        if (!isLate(error) || tries === TRIES) throw error;
        continue;
      }
      await this.takeOver(message, payload);
      return;
    }
  }

  /**
   * Waits until it is to train, and takes over the others' half.
   *
   * @returns The number of the round.
   */
  async beginRound(): Promise<bigint> {
    const value = create(BeginRoundSchema, { version: this.version });
    const { message, payload } = await this.server.ask(
      "roundBegun",
      { case: "beginRound", value },
      undefined,
      this.own.signal,
    );
    await this.takeOver(message, payload);
    return message.round;
  }

  /**
   * Waits for the next merged step.
   *
   * @param left Examples that it has not trained on in this epoch.
   * @param epoch Which one, from 0.
   * @throws ProtocolError If it is drawn for more than it has.
   */
  async share(left: number, epoch: number): Promise<Share> {
    let told = await this.askShare(left, epoch);
    while (told.message.step === GIVE_FIRST) {
      told = await this.askShare(left, epoch);
    }
    const { message, payload } = told;
    const { step, count, members, ticket } = message;
    const most = Math.min(left, this.own.capacity);
    if (count > BigInt(most)) {
      throw new ProtocolError(
        `Expected a share of ${most} examples at most, of ${left} that are ` +
          `left. Received: one of ${count}. Install the same keras_split on ` +
          "the phone and on the server.",
        "protocol",
      );
    }
    await this.takeOver(message, payload);
    const merged =
      count > 0n
        ? create(MergedStepSchema, { step, count, members, ticket })
        : undefined;
    return { step: Number(step), count: Number(count), merged };
  }

  /** What the server says of the next step; gives the half first. */
  private async askShare(left: number, epoch: number) {
    const value = create(AskShareSchema, {
      left: BigInt(left),
      epoch: BigInt(epoch),
      version: this.version,
      seen: this.seen,
    });
    const told = await this.server.ask(
      "share",
      { case: "askShare", value },
      undefined,
      this.own.signal,
    );
    const { step, giveHalf, version } = told.message;
    if (step >= this.seen) this.seen = step + 1n;
    try {
      if (giveHalf) await this.giveHalf(version);
    } catch (error) {
      if (!isLate(error)) throw error; // its server was killed since
    }
    return told;
  }

  /**
   * What all contributions together are, in the mean.
   *
   * A server that is secure learns that mean, and no phone's part in it.
   *
   * @param round Number of the round.
   * @param vector The change of the phone's half since the round began.
   * @param weight Its examples; 0 to listen only.
   * @returns Shape `(size,)`.
   * @throws QuantizationError If a number does not fit under masks.
   * @throws RefusedError With reason `late`, if the average went on without
   *   this phone, or there was none.
   */
  async average(
    round: bigint,
    vector: Float32Array,
    weight: number,
  ): Promise<Float32Array> {
    try {
      const { message, payload } = await (this.secure
        ? this.secure.average(
            () => this.info,
            this.member,
            round,
            vector,
            weight,
            this.own.signal,
          )
        : this.inPlain(round, vector, weight));
      const { tensors, version } = message;
      const made = unpackVector(tensors, payload, vector.length, this.codec);
      this.version = version;
      // Who was not drawn is there with the others, too.
      this.server.moment = momentOf(message.moment) ?? this.server.moment;
      return made;
    } catch (error) {
      this.version = -1n; // it has trained on, alone
      throw error;
    }
  }

  private inPlain(
    round: bigint,
    vector: Float32Array,
    weight: number,
  ): Promise<Average> {
    const { tensors, payload } = packVector(vector, this.codec);
    const value = create(ContributionSchema, {
      round,
      stage: "value",
      weight,
      tensors,
    });
    const message = { case: "contribution" as const, value };
    return this.server.ask("gathered", message, payload, this.own.signal);
  }

  /** Gives its half to the cohort, for newcomers. */
  private async giveHalf(version: bigint): Promise<void> {
    const vector = await this.own.half.get();
    const { tensors, payload } = packVector(vector, this.codec);
    const value = create(PutHalfSchema, { version, tensors });
    await this.server.ask("done", { case: "putHalf", value }, payload);
  }

  private async takeOver(
    reply: { tensors: Tensor[]; version: bigint },
    payload: Uint8Array,
  ): Promise<void> {
    const { half } = this.own;
    if (reply.tensors.length) {
      await half.set(
        unpackVector(reply.tensors, payload, half.size, this.codec),
      );
    }
    this.version = reply.version;
  }
}

/** Whether the others of a step or a round went on without this phone. */
export function isLate(error: unknown): error is SplitError {
  return error instanceof RefusedError && error.reason === "late";
}
