import { expect, test } from "vitest";
import {
  History,
  ratesBetween,
  restarted,
  type Sample,
} from "../../src/dashboard/history";
import { figuresOf, PHONE, REPLICA } from "./some_figures";

/** A reply `atS` seconds after the first, of a server that is up `uptimeS`. */
function sample(atS: number, uptimeS: number, steps: number): Sample {
  return {
    atMs: 1_000_000 + 1000 * atS,
    figures: figuresOf({
      uptimeS,
      steps,
      uplinkBytes: 1000 * steps,
      downlinkBytes: 10 * steps,
      sessions: [{ ...PHONE, steps: 7 * steps }],
      replicas: [{ ...REPLICA, steps: 3 * steps }],
    }),
  };
}

function historyOf(...samples: Sample[]): History {
  return samples.reduce((history, one) => history.with(one), History.empty);
}

test("rates are differences over the server's own time", () => {
  // The reply took half a second longer: the clock here says 1.5 s.
  const rates = ratesBetween(sample(0, 100, 50), sample(1.5, 101, 62));

  expect(rates).toEqual({
    steps: 12,
    uplinkBytes: 12_000,
    downlinkBytes: 120,
  });
});

test("one reply says nothing about a rate, nor does the same one twice", () => {
  expect(historyOf(sample(0, 100, 50)).rates).toBeNull();
  expect(ratesBetween(sample(0, 100, 5), sample(1, 100, 5))).toBeNull();
});

test("a server that nobody uses does nothing in a second", () => {
  expect(historyOf(sample(0, 1, 5), sample(1, 2, 5)).rates?.steps).toBe(0);
});

test("over a pause of the tab the rate is the average, after a gap", () => {
  const history = historyOf(
    sample(0, 100, 50),
    sample(1, 101, 60),
    sample(301, 401, 660),
  );

  expect(history.rates?.steps).toBe(2);
  expect(history.points.steps).toEqual([null, 10, null, 2]);
});

test.each([
  ["its clock is behind", sample(0, 100, 50), sample(1, 0.5, 0)],
  // 600 s passed here; it was started 500 s ago, which is more than 100 s.
  ["this tab slept", sample(0, 100, 50), sample(600, 500, 80)],
  ["it has made fewer steps", sample(0, 1, 50), sample(1, 2, 3)],
])("a server that was started again is known: %s", (_, before, now) => {
  expect(restarted(before, now)).toBe(true);
  expect(ratesBetween(before, now)).toBeNull();
});

test("fewer bytes, too, tell a server that was started again", () => {
  const before = sample(0, 1, 0);
  const busy = {
    ...before,
    figures: { ...before.figures, downlinkBytes: 9 },
  };

  expect(restarted(before, sample(1, 2, 0))).toBe(false);
  expect(restarted(busy, sample(1, 2, 0))).toBe(true);
});

test.each([
  [1, 1.0],
  [1, 0.2], // the one before came late
  [4, 2.5],
  [3600, 3590],
  [1, 5], // this browser's clock was set back
])("replies %d s apart, of %d s, are of one server", (atS, uptimeS) => {
  expect(restarted(sample(0, 100, 5), sample(atS, 100 + uptimeS, 5))).toBe(
    false,
  );
});

test("after a restart the line has a gap, and no rate is negative", () => {
  const history = historyOf(
    sample(0, 100, 50),
    sample(1, 101, 60),
    sample(2, 0.5, 1),
    sample(3, 1.5, 4),
  );

  expect(history.points.steps).toEqual([null, 10, null, null, 3]);
  expect(history.samples.length).toBe(2); // of this server
  expect(history.stepsOf(PHONE.label)).toBe(21);
});

test("a session's rate is over the last half minute", () => {
  const seconds = Array.from({ length: 100 }, (_, index) => index);
  const history = historyOf(
    ...seconds.map((s) => sample(s, s, s < 90 ? 0 : s - 89)),
  );

  expect(history.before?.atMs).toBe(1_000_000 + 69_000);
  expect(history.stepsOf(PHONE.label)).toBeCloseTo((7 * 10) / 30);
  expect(history.stepsOf("another")).toBeNull();
  expect(history.stepsOfReplica("0")).toBeCloseTo((3 * 10) / 30);
  expect(history.stepsOfReplica("front")).toBeNull();
});

test("a session that went back to an older step has no negative rate", () => {
  const back = historyOf(sample(0, 0, 9), {
    ...sample(1, 1, 9),
    figures: figuresOf({
      uptimeS: 1,
      steps: 9,
      uplinkBytes: 9000,
      downlinkBytes: 90,
      sessions: [PHONE],
    }),
  });

  expect(back.stepsOf(PHONE.label)).toBe(0);
});

test("ten minutes are kept", () => {
  const seconds = Array.from({ length: 700 }, (_, index) => index);
  const history = historyOf(...seconds.map((s) => sample(s, s, s)));

  expect(history.points.atS.length).toBe(600);
  expect(history.points.steps.length).toBe(600);
  expect(history.samples.length).toBeLessThan(40);
});
