import { describe, expect, expectTypeOf, test, vi } from "vitest";
import type { SplitClient } from "../../src/client.js";
import { examplesOf, order } from "../../src/cohort/examples.js";
import {
  type FederatedAveraging,
  type TrainingPhone,
  train,
} from "../../src/cohort/index.js";
import { RefusedError, TransportError } from "../../src/errors.js";
import type {
  AskShare,
  Contribution,
  Enroll,
  PutHalf,
} from "../../src/gen/split_pb.js";
import {
  begun,
  enrolled,
  FakeConversation,
  FakePhone,
  gathered,
  info,
  LATE,
  type Said,
  share,
} from "./fakes.js";

const COUNT = 10;
const DATA = {
  count: COUNT,
  x: [Float32Array.from({ length: COUNT }, (_, i) => i)],
  y: [new Int32Array(COUNT)],
};
const HALF = Float32Array.of(1, 2, 3);

/** A server that says these to each kind of question, one by one. */
function phone(
  replies: Record<string, (Said | Error)[]>,
  what = info({ mode: "merged", phones: 2, secure: false }),
): FakePhone {
  const conversation = new FakeConversation(what, async ({ case: kind }) => {
    const said = replies[kind as string]?.shift();
    if (said === undefined) throw new Error(`nothing to say to ${kind}`);
    if (said instanceof Error) throw said;
    return said;
  });
  return new FakePhone(conversation);
}

function asked<T>(of: FakePhone, kind: string): T[] {
  return of.conversation.asked
    .filter((message) => message.case === kind)
    .map((message) => message.value as T);
}

const MOMENT = { run: "ab".repeat(16), steps: 9n };
const AVERAGE = gathered({ round: 0n, stage: "value", version: 1n }, HALF);

test("a SplitClient is a phone that trains", () => {
  expectTypeOf<SplitClient>().toExtend<TrainingPhone>();
});

describe("alone", () => {
  const alone = () => phone({}, undefined as never);

  test("each batch is a step, in order without a seed", async () => {
    const subject = alone();

    const { logs, stopped } = await train(subject, DATA, { seed: null });

    expect(subject.steps).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]);
    expect(logs).toEqual([{ loss: 2, accuracy: 0.5 }]);
    expect(stopped).toBe(false);
    expect(subject.conversation.goodbyes).toBe(0);
  });

  test("epochs are shuffled otherwise, and the same each time", () => {
    const orders = [0, 1, 2].map((epoch) => order(50, 3, epoch).join());

    expect(new Set(orders).size).toBe(3);
    expect(order(50, 3, 1).join()).toBe(orders[1]);
    expect(order(50, 3, 1).sort((a, b) => a - b)).toEqual(order(50, null, 0));
  });

  test("a step that is not finite is logged and not counted", async () => {
    const subject = alone();
    subject.loss = Number.NaN;

    const { logs } = await train(subject, DATA);

    expect(logs).toEqual([{ loss: Number.NaN, accuracy: 0 }]);
  });

  test("a signal ends it between two steps", async () => {
    const subject = alone();
    const stop = new AbortController();
    const onStep = vi.fn(() => stop.abort());

    const history = await train(subject, DATA, { signal: stop.signal, onStep });

    expect(history).toEqual({ logs: [], stopped: true });
    expect(onStep).toHaveBeenCalledTimes(1);
  });

  test("rows that do not come out even are refused", () => {
    const x = [new Float32Array(COUNT + 1)];

    expect(() => examplesOf({ ...DATA, x })).toThrow("10 rows");
  });

  test.each([-1, 1.5])("%d epochs are refused", async (epochs) => {
    await expect(train(alone(), DATA, { epochs })).rejects.toThrow(
      "whole number of epochs",
    );
  });
});

describe("in a merged cohort", () => {
  const federate = {};
  const options = { federate, seed: null } as const;

  test("the server says how many of each step are this phone's", async () => {
    const subject = phone({
      enroll: [enrolled({ member: 5, version: 7n }, HALF)],
      beginRound: [begun(0n, 7n)],
      askShare: [
        share({ step: 3n, count: 4n, members: [1, 5], version: 7n }),
        share({ step: 4n, count: 0n, members: [1], version: 7n }),
        share({ step: 5n, count: 4n, members: [5], version: 7n }),
        share({ step: 6n, count: 2n, members: [5], version: 7n }),
        share({ step: -1n, version: 7n }),
      ],
      contribution: [AVERAGE],
    });

    await train(subject, DATA, options);

    expect(subject.steps).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]);
    expect(subject.merged.map((of) => of?.step)).toEqual([3n, 5n, 6n]);
    const left = asked<AskShare>(subject, "askShare").map((a) => a.left);
    expect(left).toEqual([10n, 6n, 6n, 2n, 0n]);
    const [said] = asked<Contribution>(subject, "contribution");
    expect(said?.weight).toBe(COUNT);
    // The half of the cohort, and what came of the average.
    expect(subject.vector).toEqual([1 + 1, 2 + 2, 3 + 3]);
    expect(subject.state.get("tail_0_m")).toEqual(Float32Array.of(30));
    expect(subject.conversation.goodbyes).toBe(1);
  });

  test("tickets go back, and what was seen of the steps is said", async () => {
    const ticket = Uint8Array.of(1, 2);
    const subject = phone({
      enroll: [enrolled({ version: 0n })],
      beginRound: [begun(0n)],
      askShare: [
        share({ step: 3n, count: 4n, members: [1, 5], ticket }),
        share({ step: 4n }),
        share({ step: -1n }),
      ],
      contribution: [AVERAGE],
    });

    await train(subject, DATA, options);

    const [merged] = subject.merged;
    expect(merged).toMatchObject({ step: 3n, count: 4n, members: [1, 5] });
    expect(merged?.ticket).toEqual(ticket);
    const seen = asked<AskShare>(subject, "askShare").map((a) => a.seen);
    expect(seen).toEqual([0n, 4n, 5n]);
  });

  test("it enrolls with layout, terms and what it can take", async () => {
    const subject = phone({
      enroll: [new RefusedError("Expected others.", "cohort")],
    });

    await expect(
      train(subject, DATA, { federate: { every: 3, batchnorm: "local" } }),
    ).rejects.toThrow("Expected others.");

    const [said] = asked<Enroll>(subject, "enroll");
    expect(said).toMatchObject({
      terms: { every: 3, what: "weights", batchnorm: "local", optimizer: "" },
      ...{ size: 3n, examples: 10n, capacity: 4n, version: -1n },
    });
    expect(said?.layout).toMatch(/^[0-9a-f]{64}$/);
    expect(subject.conversation.goodbyes).toBe(1);
  });

  test("the first phone gives its half", async () => {
    const subject = phone({
      enroll: [enrolled({ member: 0, version: 0n, giveHalf: true })],
      putHalf: [{ message: { case: "done", value: {} as never } }],
      beginRound: [begun(0n)],
      askShare: [share({ step: -1n })],
      contribution: [AVERAGE],
    });

    await train(subject, DATA, options);

    const at = subject.conversation.kinds.indexOf("putHalf");
    const payload = subject.conversation.payloads[at] as Uint8Array;
    expect([...new Float32Array(payload.slice().buffer)]).toEqual([0, 10, 20]);
    expect(asked<PutHalf>(subject, "putHalf")[0]?.version).toBe(0n);
  });

  test("it goes on when its server was killed before it had the half", async () => {
    const subject = phone({
      enroll: [
        enrolled({ member: 0, version: 0n, giveHalf: true }),
        enrolled({ member: 2, version: 0n }, HALF),
      ],
      putHalf: [LATE, LATE],
      beginRound: [begun(0n)],
      askShare: [share({ step: -1n, giveHalf: true })],
      contribution: [AVERAGE],
    });

    await train(subject, DATA, options);

    const { kinds } = subject.conversation;
    expect(kinds.filter((kind) => kind === "enroll")).toHaveLength(2);
    expect(kinds.filter((kind) => kind === "putHalf")).toHaveLength(2);
  });

  test("it gives its half to who is behind, and asks again", async () => {
    const subject = phone({
      enroll: [enrolled({ version: 0n })],
      putHalf: [{ message: { case: "done", value: {} as never } }],
      beginRound: [begun(0n)],
      askShare: [
        share({ step: -2n, version: 3n, giveHalf: true }),
        share({ step: -1n }),
      ],
      contribution: [AVERAGE],
    });

    await train(subject, DATA, options);

    expect(asked<PutHalf>(subject, "putHalf")[0]?.version).toBe(3n);
    expect(asked(subject, "askShare")).toHaveLength(2);
  });

  test("rounds end behind steps of the cohort, not of the phone", async () => {
    const subject = phone({
      enroll: [enrolled({ version: 0n })],
      beginRound: [begun(0n, 0n), begun(1n, 1n)],
      askShare: [
        share({ step: 0n, count: 0n }),
        share({ step: 1n, count: 4n }),
        share({ step: 2n, count: 4n }),
        share({ step: -1n }),
      ],
      contribution: [
        gathered({ stage: "value", version: 1n, moment: MOMENT }, HALF),
        gathered({ round: 1n, version: 2n }, HALF),
      ],
    });

    await train(subject, DATA, { ...options, federate: { every: 2 } });

    // Who was not drawn in the last step is where the body is, too.
    expect(subject.conversation.moment).toEqual({ run: MOMENT.run, steps: 9 });

    const said = asked<Contribution>(subject, "contribution");
    expect(said.map(({ round, weight }) => [round, weight])).toEqual([
      [0n, 4],
      [1n, 4],
    ]);
  });

  test("a late step moves nothing, and its examples come again", async () => {
    const told: string[] = [];
    const subject = phone({
      enroll: [enrolled({ version: 0n })],
      beginRound: [begun(0n)],
      askShare: [
        share({ step: 0n, count: 4n }),
        share({ step: 1n, count: 3n }),
        share({ step: -1n }),
      ],
      contribution: [AVERAGE],
    });
    subject.refusals.push(LATE);

    await train(subject, DATA, {
      ...options,
      onTrouble: (words) => told.push(words),
    });

    expect(subject.steps).toEqual([[0, 1, 2]]);
    const left = asked<AskShare>(subject, "askShare").map((a) => a.left);
    expect(left).toEqual([10n, 10n, 7n]);
    expect(told).toEqual([
      "Step 0 went on without this phone: Expected it in time.",
    ]);
  });

  test("a late round is lost, told, and begun anew with a half", async () => {
    const told: string[] = [];
    const subject = phone({
      enroll: [enrolled({ version: 4n })],
      beginRound: [begun(0n, 4n), begun(1n, 5n, HALF)],
      askShare: [
        share({ step: 1n, count: 4n, version: 4n }),
        share({ step: -1n, version: 5n }),
      ],
      contribution: [LATE, gathered({ version: 6n }, new Float32Array(3))],
    });

    await train(subject, DATA, {
      ...options,
      federate: { every: 2 },
      onTrouble: (words) => told.push(words),
    });

    expect(told[0]).toContain("from 4 examples is lost");
    const begins = subject.conversation.asked
      .filter((message) => message.case === "beginRound")
      .map((message) => (message.value as { version: bigint }).version);
    expect(begins).toEqual([4n, -1n]);
    expect(subject.vector).toEqual([1, 2, 3]);
  });

  test.each([11n, 5n, 2n ** 60n])(
    "a share of %d, more than it has or can take, is refused",
    async (count) => {
      const subject = phone({
        enroll: [enrolled({ version: 0n })],
        beginRound: [begun(0n)],
        askShare: [share({ step: 0n, count })],
      });

      await expect(train(subject, DATA, options)).rejects.toThrow(
        "Expected a share of 4 examples at most",
      );
      expect(subject.steps).toEqual([]);
    },
  );

  test.each([2, 4])("a half of %d numbers is refused", async (size) => {
    const subject = phone({
      enroll: [enrolled({ version: 0n }, new Float32Array(size))],
    });

    await expect(train(subject, DATA, options)).rejects.toThrow(
      "Expected one vector of shape (1, 3)",
    );
    expect(subject.vector).toEqual([0, 10, 20]);
  });

  test("a half that is not finite is refused", async () => {
    const subject = phone({
      enroll: [enrolled({ version: 0n }, Float32Array.of(1, Number.NaN, 0))],
    });

    await expect(train(subject, DATA, options)).rejects.toThrow(
      "Expected finite numbers in a half",
    );
    expect(subject.vector).toEqual([0, 10, 20]);
  });

  test("a signal ends it, and nobody waits for the phone", async () => {
    const stop = new AbortController();
    const subject = phone({
      enroll: [enrolled({ version: 0n })],
      beginRound: [begun(0n)],
      askShare: [share({ step: 0n, count: 4n })],
    });

    const history = await train(subject, DATA, {
      ...options,
      signal: stop.signal,
      onStep: () => stop.abort(),
    });

    expect(history.stopped).toBe(true);
    expect(subject.conversation.goodbyes).toBe(1);
  });

  test("a server that is gone is not told goodbye", async () => {
    const subject = phone({ enroll: [new TransportError("no answer")] });

    await expect(train(subject, DATA, options)).rejects.toThrow("no answer");
    expect(subject.conversation.goodbyes).toBe(0);
  });
});

test("in other modes rounds are of the phone's own batches", async () => {
  const mode = info({ mode: "private", secure: false });
  const last = gathered({ round: 1n, version: 2n }, new Float32Array(3));
  const subject = phone(
    {
      enroll: [enrolled({ version: 0n })],
      beginRound: [begun(0n), begun(1n)],
      contribution: [AVERAGE, last],
    },
    mode,
  );

  await train(subject, DATA, { federate: { every: 2 }, seed: null });

  expect(subject.steps.length).toBe(3);
  expect(subject.merged).toEqual([undefined, undefined, undefined]);
  const said = asked<Contribution>(subject, "contribution");
  expect(said.map(({ weight }) => weight)).toEqual([8, 2]);
});

test("a round as long as an epoch does not end with a step not taken", async () => {
  const subject = phone(
    {
      enroll: [enrolled({ member: 5, version: 0n })],
      beginRound: [begun(0n)],
      contribution: [AVERAGE],
    },
    info({ mode: "private", secure: false }),
  );
  subject.loss = Number.NaN;
  const onStep = () => {
    subject.loss = 2;
  };

  await train(subject, DATA, { federate: {}, seed: null, onStep });

  const said = asked<Contribution>(subject, "contribution");
  expect(said.map(({ weight }) => weight)).toEqual([6]);
});

describe("before it begins, it refuses", () => {
  const cases: [string, FederatedAveraging, unknown, string][] = [
    ["a server without a cohort", {}, undefined, "serve --cohort"],
    [
      "a server that could read its half",
      { requireSecure: true },
      info({ secure: false }),
      "could read",
    ],
    ["no steps between averages", { every: 0 }, info(), "Expected every"],
    [
      "a batchnorm that is none",
      { batchnorm: "none" as never },
      info(),
      "Expected batchnorm",
    ],
  ];

  test.each(cases)("%s", async (_, federate, what, words) => {
    const subject = phone({}, what as never);
    subject.conversation.cohort = what as never;

    await expect(train(subject, DATA, { federate })).rejects.toThrow(words);
    expect(subject.conversation.asked).toEqual([]);
  });
});
