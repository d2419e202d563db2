import { batches } from "./batches";

/** A training that was begun: all that its steps follow from. */
export interface Plan {
  readonly epochs: number;
  readonly learningRate: number;
  readonly seed: number;
  /** Examples that it takes, by their keys, in the order of their places. */
  readonly examples: readonly number[];
  /** Steps of it that are behind this phone, or were left out. */
  readonly done: number;
  /** In a cohort: steps between two averages; 0 for an epoch. */
  readonly every?: number;
  /** Number of the phone's next step then. */
  readonly phoneStep: number;
}

/**
 * The plan of a phone that comes back, perhaps from its own sudden death.
 *
 * A step is taken first and noted then. Where the tab died in between, the
 * phone is further than the plan: so many steps are behind it, too.
 */
export function caughtUp(plan: Plan, phoneStep: number): Plan {
  const missed = Math.max(0, phoneStep - plan.phoneStep);
  return { ...plan, done: plan.done + missed, phoneStep };
}

/** Steps of one epoch. */
export function stepsPerEpoch(plan: Plan, batchSize: number): number {
  return Math.ceil(plan.examples.length / batchSize);
}

/** Steps of the whole training. */
export function steps(plan: Plan, batchSize: number): number {
  return plan.epochs * stepsPerEpoch(plan, batchSize);
}

/**
 * Keys of the examples of the next step.
 *
 * @returns null when the training is over.
 */
export function nextBatch(plan: Plan, batchSize: number): number[] | null {
  if (plan.done >= steps(plan, batchSize)) return null;
  const each = stepsPerEpoch(plan, batchSize);
  const epoch = Math.floor(plan.done / each);
  const places = batches(plan.examples.length, batchSize, plan.seed, epoch);
  return (places[plan.done % each] ?? []).map(
    (place) => plan.examples[place] ?? 0,
  );
}

/**
 * How often to go through the photos if nobody says.
 *
 * A few photos need more epochs than many for as many steps.
 */
export function defaultEpochs(examples: number, batchSize: number): number {
  const each = Math.max(1, Math.ceil(examples / batchSize));
  return Math.min(40, Math.max(5, Math.ceil(60 / each)));
}
