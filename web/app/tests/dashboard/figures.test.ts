import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { StatusReplySchema } from "../../../client/src/gen/split_pb";
import { figures } from "../../src/dashboard/figures";

test("a reply becomes numbers, none of them lost", () => {
  const times = { boundsS: [0.1], counts: [2n, 1n], totalS: 3 };
  const found = figures(
    create(StatusReplySchema, {
      steps: 2n ** 41n,
      checkpointAgeS: 1.5,
      refusals: { shape: 3n },
      sessionsClosed: { idle: 2n },
      queueTimes: times,
      cohort: {
        present: { 10: "b", 2: "a" },
        leftOut: 4n,
        roundTimes: times,
        recent: [{ number: 1n }, { number: 2n, dropped: [3] }],
      },
    }),
  );

  expect(found.steps).toBe(2 ** 41);
  expect(found.checkpointAgeS).toBe(1.5);
  expect(found.refusals).toEqual({ shape: 3 });
  expect(found.closed).toEqual({ idle: 2 });
  expect(found.queueTimes).toEqual({ ...times, counts: [2, 1] });
  expect([...(found.cohort?.present ?? [])]).toEqual([
    [2, "a"],
    [10, "b"],
  ]);
  expect(found.cohort?.recent.map((one) => one.number)).toEqual([2, 1]);
  expect(found.cohort?.recent[0]?.dropped).toEqual([3]);
});

test("of each process there is what it does by itself", () => {
  const found = figures(
    create(StatusReplySchema, {
      averages: 3n,
      sessions: [{ label: "ab12cd34", replica: "1" }],
      replicas: [
        { name: "front", up: true },
        { name: "1", restarts: 2n, silentS: 9, status: { steps: 5n } },
      ],
    }),
  );

  const [front, one] = found.replicas;
  expect([front?.name, front?.up, front?.steps]).toEqual(["front", true, 0]);
  expect([one?.up, one?.silentS, one?.restarts]).toEqual([false, 9, 2]);
  expect(one?.steps).toBe(5);
  expect(found.averages).toBe(3);
  expect(found.sessions[0]?.replica).toBe("1");
});

test("what a server from before does not say is nothing", () => {
  const found = figures(create(StatusReplySchema, { checkpointAgeS: -1 }));

  expect(found.checkpointAgeS).toBeNull();
  expect(found.cohort).toBeNull();
  expect(found.replicas).toEqual([]);
  expect(found.computeTimes).toEqual({ boundsS: [], counts: [], totalS: 0 });
});
