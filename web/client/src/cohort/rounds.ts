import type { CohortClient } from "./cohort_client.js";
import { isLate } from "./cohort_client.js";
import type { Half } from "./half_vector.js";

/** What is lost, in words. */
export type Tell = (trouble: string) => void;

/**
 * The rounds of one phone: it trains, and averages what has changed.
 *
 * A round begins with the cohort's half and ends with the average change of
 * all phones that took part, weighted by the examples of each. The optimizer
 * keeps its slots.
 */
export class Rounds {
  /** How many steps it has taken in this round. */
  steps = 0;
  private start: Float32Array | undefined;
  private round = -1n;
  private examples = 0;

  constructor(
    private readonly cohort: CohortClient,
    private readonly half: Half,
    private readonly tell: Tell,
  ) {}

  /** Waits for the next round, unless it is in one. */
  async begin(): Promise<void> {
    if (this.start) return;
    this.round = await this.cohort.beginRound();
    this.start = await this.half.get();
    this.examples = 0;
    this.steps = 0;
  }

  /** A step was taken, with so many examples of this phone. */
  trained(examples: number): void {
    this.examples += examples;
    this.steps++;
  }

  /**
   * Averages, unless it is in no round.
   *
   * Who comes too late begins the next round with the cohort's half: what it
   * has learned in this one is lost, and is told.
   */
  async end(): Promise<void> {
    const { start, half } = this;
    this.start = undefined;
    if (!start) return;
    const now = await half.get();
    const change = now.map((x, i) => x - (start[i] as number));
    let average: Float32Array;
    try {
      average = await this.cohort.average(this.round, change, this.examples);
    } catch (error) {
      if (!isLate(error)) throw error;
      this.tell(
        `Round ${this.round} went on without this phone, and what it learned ` +
          `from ${this.examples} examples is lost: ${error.message}`,
      );
      await half.set(start); // or the cohort's half would not be here
      return;
    }
    // As the server does, to the last bit: sums of float32 are rounded.
    await half.set(start.map((x, i) => x + (average[i] as number)));
  }
}
