/** Which examples each step of an epoch takes, alone and in a cohort. */
import { type CohortClient, isLate } from "./cohort_client.js";
import type { Epoch } from "./epoch.js";
import type { Rounds, Tell } from "./rounds.js";

/** Takes the steps of an epoch. */
export interface Batches {
  /**
   * @param number Of the epoch, from 0.
   * @param places Of its examples, in order.
   * @param epoch Takes the steps.
   * @param signal Ends it between two steps, with an error.
   */
  epoch(
    number: number,
    places: readonly number[],
    epoch: Epoch,
    signal?: AbortSignal,
  ): Promise<void>;
}

/** Each batch is a step, and the half is this phone's own. */
export class OwnBatches implements Batches {
  constructor(private readonly size: number) {}

  async epoch(
    _number: number,
    places: readonly number[],
    epoch: Epoch,
    signal?: AbortSignal,
  ): Promise<void> {
    for (const batch of parts(places, this.size)) {
      signal?.throwIfAborted();
      await epoch.take(batch);
    }
  }
}

/**
 * Each batch is a step; a round is some steps, or an epoch.
 *
 * A round ends with the epoch at the latest.
 */
export class InRounds implements Batches {
  /**
   * @param rounds Average weights.
   * @param every Steps of a round; 0 for an epoch.
   * @param size Examples of a step.
   */
  constructor(
    private readonly rounds: Rounds,
    private readonly every: number,
    private readonly size: number,
  ) {}

  async epoch(
    _number: number,
    places: readonly number[],
    epoch: Epoch,
    signal?: AbortSignal,
  ): Promise<void> {
    const { rounds } = this;
    for (const batch of parts(places, this.size)) {
      signal?.throwIfAborted();
      await rounds.begin();
      if (await epoch.take(batch)) rounds.trained(batch.length);
      // One that is as long as an epoch may have no steps yet.
      if (this.every && rounds.steps === this.every) await rounds.end();
    }
    await rounds.end();
  }
}

/**
 * The server says how many examples of each step are this phone's.
 *
 * An epoch goes on until all phones have seen all of their examples, or do not
 * want any more.
 */
export class DrawnBatches implements Batches {
  /**
   * @param cohort Speaks with the others.
   * @param rounds Average weights.
   * @param every Steps of the cohort from one averaging to the next; 0 for an
   *   epoch.
   * @param tell Hears of steps that went on without this phone.
   */
  constructor(
    private readonly cohort: CohortClient,
    private readonly rounds: Rounds,
    private readonly every: number,
    private readonly tell: Tell,
  ) {}

  async epoch(
    number: number,
    places: readonly number[],
    epoch: Epoch,
    signal?: AbortSignal,
  ): Promise<void> {
    let at = 0;
    for (;;) {
      signal?.throwIfAborted();
      await this.rounds.begin();
      const share = await this.cohort.share(places.length - at, number);
      if (share.step < 0) break;
      const batch = places.slice(at, at + share.count);
      try {
        if (batch.length) {
          if (await epoch.take(batch, share.merged)) {
            this.rounds.trained(batch.length);
          }
          at += batch.length;
        }
      } catch (error) {
        if (!isLate(error)) throw error;
        // Neither half has moved: its examples are in a later step.
        this.tell(
          `Step ${share.step} went on without this phone: ${error.message}`,
        );
      }
      if (this.every && (share.step + 1) % this.every === 0) {
        await this.rounds.end();
      }
    }
    await this.rounds.end();
  }
}

function* parts(places: readonly number[], size: number) {
  for (let at = 0; at < places.length; at += size) {
    yield places.slice(at, at + size);
  }
}
