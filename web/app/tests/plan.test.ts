import { expect, test } from "vitest";
import { batches } from "../src/train/training/batches";
import type { Plan } from "../src/train/training/plan";
import {
  caughtUp,
  defaultEpochs,
  nextBatch,
  steps,
} from "../src/train/training/plan";

const PLAN: Plan = {
  epochs: 2,
  learningRate: 0.1,
  seed: 7,
  examples: Array.from({ length: 11 }, (_, place) => 100 + place),
  done: 0,
  phoneStep: 40,
};

test("an epoch takes each example once, in batches of about one size", () => {
  const made = batches(33, 32, 1, 0);

  expect(made.map((batch) => batch.length)).toEqual([17, 16]);
  expect(made.flat().sort((a, b) => a - b)).toEqual(
    Array.from({ length: 33 }, (_, place) => place),
  );
});

test("no batch is larger than the file takes", () => {
  for (let examples = 1; examples < 70; examples += 1) {
    const sizes = batches(examples, 8, 3, 0).map((batch) => batch.length);

    expect(Math.max(...sizes)).toBeLessThanOrEqual(8);
    expect(Math.min(...sizes)).toBeGreaterThan(0);
  }
});

test("the order is that of the seed and the epoch", () => {
  expect(batches(20, 8, 1, 0)).toEqual(batches(20, 8, 1, 0));
  expect(batches(20, 8, 1, 0)).not.toEqual(batches(20, 8, 1, 1));
  expect(batches(20, 8, 1, 0)).not.toEqual(batches(20, 8, 2, 0));
});

test("a plan that is gone on with takes the batches that were left", () => {
  const taken: (number[] | null)[] = [];
  for (let done = 0; done <= steps(PLAN, 4); done += 1) {
    taken.push(nextBatch({ ...PLAN, done }, 4));
  }

  expect(steps(PLAN, 4)).toBe(6);
  expect(taken.at(-1)).toBeNull();
  const epoch = taken.slice(3, 6).flatMap((batch) => batch ?? []);
  expect(new Set(epoch)).toEqual(new Set(PLAN.examples));
});

test("a step that was taken but not noted is not taken again", () => {
  expect(caughtUp(PLAN, 41)).toEqual({ ...PLAN, done: 1, phoneStep: 41 });
  expect(caughtUp(PLAN, 3)).toEqual({ ...PLAN, phoneStep: 3 });
});

test("few photos get more epochs than many", () => {
  expect(defaultEpochs(16, 8)).toBe(30);
  expect(defaultEpochs(4000, 8)).toBe(5);
  expect(defaultEpochs(0, 8)).toBe(40);
});
