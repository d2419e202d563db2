import type { ClientDescription } from "../description.js";
import type { MergedStep } from "../gen/split_pb.js";
import type { StepResult } from "../half.js";
import type { Examples } from "./examples.js";
import type { TrainingPhone } from "./phone.js";

/** The numbers that Keras would log: `loss`, `accuracy`, ... */
export type Logs = Record<string, number>;

/** A number, or a function of the step in this training, from 0. */
export type Rate = number | ((step: number) => number);

/** Hears of each step, and of the logs so far. */
export type OnStep = (
  result: StepResult,
  logs: Logs,
  places: readonly number[],
) => unknown;

/** Takes the steps of a training, and adds up what is logged of an epoch. */
export class Epoch {
  private averages: Averages;
  private step = 0;

  /**
   * @param phone Takes the steps.
   * @param examples Of the training.
   * @param rate Of both halves and the body; none for that of the export.
   * @param onStep Is awaited after each.
   */
  constructor(
    private readonly phone: TrainingPhone,
    private readonly examples: Examples,
    private readonly rate?: Rate,
    private readonly onStep?: OnStep,
  ) {
    this.averages = new Averages(phone.description);
  }

  /** A new epoch begins. */
  begin(): void {
    this.averages = new Averages(this.phone.description);
  }

  /**
   * Takes a step; one that is not finite is not taken and logged so.
   *
   * @param places Of its examples.
   * @param merged The step of a cohort that it is a share of.
   * @returns Whether it was taken.
   */
  async take(places: readonly number[], merged?: MergedStep): Promise<boolean> {
    const { x, y, sampleWeight } = await this.examples.take(places);
    const { rate } = this;
    const learningRate = typeof rate === "function" ? rate(this.step) : rate;
    const options = { sampleWeight, learningRate, merged };
    const result = await this.phone.step(x, y, places.length, options);
    this.step++;
    this.averages.add(places.length, result);
    await this.onStep?.(result, this.logs(), places);
    return result.taken;
  }

  /** Of all batches of the epoch so far. */
  logs(): Logs {
    return this.averages.logs();
  }
}

/** Means over batches; names are Keras'. */
class Averages {
  private readonly names: string[];
  private readonly correct: number[];
  private loss = 0;
  private weight = 0;
  private count = 0;

  constructor(description: ClientDescription) {
    const { outputs } = description;
    this.names = outputs
      .filter((output) => output.accuracy)
      .map(({ name }) =>
        outputs.length === 1 ? "accuracy" : `${name}_accuracy`,
      );
    this.correct = this.names.map(() => 0);
  }

  /** Adds a batch of `count` examples. A loss of NaN stays. */
  add(count: number, result: StepResult): void {
    this.loss += result.loss * count;
    this.weight += count;
    if (!result.taken) return;
    this.count += count;
    for (const i of this.names.keys()) {
      this.correct[i] = (this.correct[i] ?? 0) + (result.correct[i] ?? 0);
    }
  }

  logs(): Logs {
    const logs: Logs = { loss: this.weight ? this.loss / this.weight : 0 };
    for (const [i, name] of this.names.entries()) {
      logs[name] = this.count ? (this.correct[i] ?? 0) / this.count : 0;
    }
    return logs;
  }
}
