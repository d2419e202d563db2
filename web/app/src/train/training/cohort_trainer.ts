import type { Phone } from "../phone/types";
import type { Example } from "../store";
import { encodeLabels } from "./labels";
import type { Plan } from "./plan";
import { stepsPerEpoch } from "./plan";
import type { Task } from "./task";
import type { Taken } from "./trainer";
import { stack } from "./trainer";

/** Trains a plan together with the other phones of a cohort. */
export type Together = NonNullable<Phone["together"]>;

/** Hears of what a phone does with others. */
export interface Told {
  /** Is awaited after each step, and keeps its plan. */
  taken(step: Taken): Promise<void>;
  /** Keeps a plan whose epoch is over. */
  planned(plan: Plan): Promise<void>;
  /** Something went on without this phone. */
  missed(words: string): void;
}

/**
 * Goes through a plan with others, epoch by epoch.
 *
 * How many steps an epoch has is not this phone's to say: they are as many as
 * all phones need. So a plan that was halted goes on with the epoch that it
 * was in, from its beginning.
 */
export class CohortTrainer {
  private readonly halting = new AbortController();

  /**
   * @param together Trains.
   * @param phone Counts the steps.
   * @param task Of the served model.
   * @param example Finds an example by its key.
   * @param told Hears of what happens.
   */
  constructor(
    private readonly together: Together,
    private readonly phone: Pick<Phone, "nextStep">,
    private readonly task: Task,
    private readonly example: (key: number) => Example | undefined,
    private readonly told: Told,
  ) {}

  /** Ends `run` after the step that is under way, and leaves the others. */
  halt(): void {
    this.halting.abort();
  }

  /** @returns Whether the plan is done; false if it was halted. */
  async run(plan: Plan): Promise<boolean> {
    const { task } = this;
    const each = stepsPerEpoch(plan, task.batchSize);
    const first = Math.floor(plan.done / each);
    let epoch = first;
    let current = { ...plan, done: first * each };
    return this.together({
      count: plan.examples.length,
      epochs: plan.epochs - first,
      learningRate: plan.learningRate,
      seed: (plan.seed + first) | 0,
      every: plan.every || "epoch",
      signal: this.halting.signal,
      take: (places) => {
        const examples = places.flatMap(
          (place) => this.example(plan.examples[place] ?? -1) ?? [],
        );
        const labels = examples.map(({ label }) => label);
        return { x: [stack(examples, task)], y: [encodeLabels(labels, task)] };
      },
      onStep: async (result, places) => {
        // The epoch ends when all say so, however many steps that takes.
        const most = (epoch + 1) * each - 1;
        const done = Math.min(current.done + 1, most);
        current = { ...current, done, phoneStep: this.phone.nextStep };
        const keys = places.map((place) => plan.examples[place] ?? -1);
        await this.told.taken({ result, plan: current, keys });
      },
      onEpoch: async () => {
        epoch += 1;
        const { nextStep: phoneStep } = this.phone;
        current = { ...current, done: epoch * each, phoneStep };
        await this.told.planned(current);
      },
      onTrouble: (words) => this.told.missed(words),
    });
  }
}
