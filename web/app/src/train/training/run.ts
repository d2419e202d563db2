import { computed, signal } from "@preact/signals";
import type { Album } from "../album";
import type { Phone } from "../phone/types";
import { Problem } from "../problem";
import type { PageStore, Point } from "../store";
import { CohortTrainer } from "./cohort_trainer";
import type { Plan } from "./plan";
import { caughtUp, steps } from "./plan";
import type { Taken } from "./trainer";
import { Trainer } from "./trainer";

/** Milliseconds of one step or of many, by part. */
export interface Costs {
  readonly steps: number;
  readonly ms: Readonly<Record<Part, number>>;
}

/** Parts of a step, in the order in which they happen. */
export const PARTS = ["head", "link", "tail", "backward"] as const;
export type Part = (typeof PARTS)[number];

const NO_COSTS: Costs = {
  steps: 0,
  ms: { head: 0, link: 0, tail: 0, backward: 0 },
};

/** A training on this phone: what was planned, how far it is, what it costs. */
export class Run {
  readonly state = signal<"idle" | "running" | "halting">("idle");
  readonly plan = signal<Plan | null>(null);
  readonly points = signal<readonly Point[]>([]);
  readonly last = signal<Taken | null>(null);
  readonly costs = signal<Costs>(NO_COSTS);
  readonly bytes = signal({ up: 0, down: 0 });
  /** Batches that were left out, because numbers were not finite. */
  readonly leftOut = signal(0);
  /** Steps of the plan, and how many are done. */
  readonly progress = computed(() => {
    const plan = this.plan.value;
    const { batchSize } = this.album.task;
    return plan
      ? { done: plan.done, all: steps(plan, batchSize) }
      : { done: 0, all: 0 };
  });
  /** Whether a plan waits to be gone on with. */
  readonly waiting = computed(() => {
    const { done, all } = this.progress.value;
    return this.state.value === "idle" && done < all;
  });
  /** What other phones did last without this one. */
  readonly missed = signal("");
  private trainer: Trainer | CohortTrainer | null = null;

  constructor(
    private readonly store: PageStore,
    private readonly phone: Phone,
    private readonly album: Album,
  ) {}

  /** Brings back how far this phone was. */
  async restore(): Promise<void> {
    this.points.value = await this.store.points();
    const plan = await this.store.get("plan");
    if (!plan) return;
    const whole = plan.examples.every((key) =>
      this.album.examples.value.has(key),
    );
    this.plan.value = whole ? caughtUp(plan, this.phone.nextStep) : null;
  }

  /**
   * Begins a training on all photos that are there.
   *
   * The network goes on from what it has learned so far.
   *
   * @param every In a cohort, steps between two averages; 0 for an epoch.
   * @throws Problem If there is nothing to tell apart, or a step fails.
   */
  async begin(epochs: number, learningRate: number, every = 0): Promise<void> {
    if (this.album.filled.value.length < 2) {
      throw new Problem(
        "There is nothing to tell apart yet.",
        "Put photos into two classes or more.",
      );
    }
    const plan: Plan = {
      epochs,
      learningRate,
      seed: Math.floor(Math.random() * 2 ** 31),
      examples: [...this.album.examples.value.keys()],
      done: 0,
      every,
      phoneStep: this.phone.nextStep,
    };
    await this.store.set("plan", plan);
    this.plan.value = plan;
    void keepForGood();
    await this.goOn();
  }

  /**
   * Goes on with the plan until it is over or halted.
   *
   * @throws Whatever a step does; `goOn` goes on with that step.
   */
  async goOn(): Promise<void> {
    if (!this.plan.value || this.state.value !== "idle") return;
    this.missed.value = "";
    this.trainer = this.trainerOf();
    this.state.value = "running";
    const awake = await stayAwake();
    try {
      // What broke off in mid-step is ended first: it may have arrived.
      await this.phone.finish();
      this.plan.value = caughtUp(this.plan.value, this.phone.nextStep);
      await this.trainer.run(this.plan.value);
    } finally {
      this.state.value = "idle";
      this.trainer = null;
      await awake?.release().catch(() => undefined);
    }
  }

  /** Halts behind the step that is under way; the plan stays. */
  halt(): void {
    if (this.state.value !== "running") return;
    this.state.value = "halting";
    this.trainer?.halt();
  }

  /** Leaves the rest of the plan. What was learned stays. */
  async drop(): Promise<void> {
    await this.store.forget("plan");
    this.plan.value = null;
  }

  /** Loads a half from a file; the plan goes on from there. */
  async load(file: Uint8Array): Promise<void> {
    // The body of a cohort is not for one phone to bring back.
    await this.phone.load(file, !this.phone.cohort);
    const plan = this.plan.value;
    if (!plan) return;
    this.plan.value = { ...plan, phoneStep: this.phone.nextStep };
    await this.store.set("plan", this.plan.value);
  }

  private trainerOf(): Trainer | CohortTrainer {
    const { phone } = this;
    const { task, examples } = this.album;
    const example = (key: number) => examples.value.get(key);
    const taken = (step: Taken) => this.note(step);
    if (!phone.cohort || !phone.together) {
      return new Trainer(phone, task, example, taken);
    }
    const together = phone.together.bind(phone);
    return new CohortTrainer(together, phone, task, example, {
      taken,
      planned: async (plan) => {
        this.plan.value = plan;
        await this.store.set("plan", plan);
      },
      missed: (words) => {
        this.missed.value = words;
      },
    });
  }

  private async note(taken: Taken): Promise<void> {
    const { result, plan, keys } = taken;
    if (!result.taken) {
      this.plan.value = plan;
      this.leftOut.value += 1;
      await this.store.set("plan", plan);
      return;
    }
    const [correct = 0] = result.correct;
    const point = { loss: result.loss, accuracy: correct / keys.length };
    await this.store.stepTaken(point, plan);
    const { costs } = this;
    const ms = { ...costs.value.ms };
    for (const part of PARTS) ms[part] += result.ms[part];
    costs.value = { steps: costs.value.steps + 1, ms };
    this.bytes.value = { ...this.phone.bytes };
    this.points.value = [...this.points.value, point];
    this.plan.value = plan;
    this.last.value = taken;
  }
}

/** Asks that nothing is deleted when room runs short; some ask the person. */
async function keepForGood(): Promise<void> {
  try {
    await navigator.storage?.persist?.();
  } catch {
    // It is kept for as long as there is room.
  }
}

/** Keeps the screen on, where the browser can: a dark phone does not train. */
async function stayAwake(): Promise<WakeLockSentinel | undefined> {
  try {
    return await navigator.wakeLock?.request("screen");
  } catch {
    return undefined; // low battery, or a tab that nobody looks at
  }
}
