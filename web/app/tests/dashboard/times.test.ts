import { expect, test } from "vitest";
import {
  count,
  meanS,
  since,
  type Times,
  withinS,
} from "../../src/dashboard/times";

const BOUNDS = [0.1, 1, 10];
const SOME: Times = { boundsS: BOUNDS, counts: [6, 2, 1, 1], totalS: 31.2 };
const NONE: Times = { boundsS: [], counts: [], totalS: 0 };

test("what never happened took no time that is known", () => {
  for (const times of [NONE, { ...SOME, counts: [0, 0, 0, 0], totalS: 0 }]) {
    expect(count(times)).toBe(0);
    expect(meanS(times)).toBeNull();
    expect(withinS(times, 0.5)).toBeNull();
  }
});

test("an average is over all", () => {
  expect(count(SOME)).toBe(10);
  expect(meanS(SOME)).toBeCloseTo(3.12);
});

// The same numbers as in tests/protocol/test_times.py.
test.each([
  [0.3, 0.05],
  [0.6, 0.1],
  [0.7, 0.55],
  [0.8, 1],
  [0.9, 10],
  [1, 10],
])("a share of %d is done within %d s", (share, seconds) => {
  expect(withinS(SOME, share)).toBeCloseTo(seconds);
});

test("those since then are the others", () => {
  const before = { boundsS: BOUNDS, counts: [6, 1, 0, 0], totalS: 1.2 };

  const lately = since(SOME, before);

  expect(lately.counts).toEqual([0, 1, 1, 1]);
  expect(lately.totalS).toBeCloseTo(30);
  expect(count(since(SOME, SOME))).toBe(0);
});

test.each([
  NONE,
  { boundsS: [0.2, 1, 10], counts: [6, 1, 0, 0], totalS: 1.2 },
  { boundsS: BOUNDS, counts: [7, 0, 0, 0], totalS: 0.1 },
])("counted anew, all are since then", (before) => {
  expect(since(SOME, before)).toEqual(SOME);
});
