import { beforeEach, expect, test } from "vitest";
import { SecureAveraging } from "../../src/cohort/secure_averaging.js";
import { RefusedError } from "../../src/errors.js";
import type { Contribution } from "../../src/gen/split_pb.js";
import { raw } from "../../src/wire/codecs.js";
import type { Message } from "../../src/wire/envelope.js";
import { FakeConversation, gathered, info, type Said } from "./fakes.js";

const MEMBERS = [0, 1, 2, 3];
const MEAN = Float32Array.of(1.5, 1.5, 1.5);

/** Passes on what all have given to a stage, as an honest server does. */
class Server {
  readonly phones: FakeConversation[];
  readonly averaging: SecureAveraging[];
  /** Says something else to a phone, once it is asked. */
  lie: (member: number, value: Contribution) => Said | undefined = () =>
    undefined;
  private given = new Map<string, Map<number, Contribution>>();
  private waiting = new Map<string, (() => void)[]>();

  constructor(what = info()) {
    this.phones = MEMBERS.map(
      (m) => new FakeConversation(what, (message) => this.answer(m, message)),
    );
    this.averaging = this.phones.map((p) => new SecureAveraging(p, raw));
  }

  /** What each phone gets; errors as they are. */
  average(members = MEMBERS, size = 3): Promise<unknown[]> {
    return Promise.all(
      members.map((m) => {
        const vector = new Float32Array(size).fill(m);
        const { phones, averaging } = this;
        const told = () => (phones[m] as FakeConversation).cohort as never;
        return averaging[m]
          ?.average(told, m, 2n, vector, 1)
          .catch((error) => error);
      }),
    );
  }

  private async answer(m: number, { value }: Message): Promise<Said> {
    const said = value as Contribution;
    const { stage } = said;
    const lie = this.lie(m, said);
    if (lie) return lie;
    const given = this.given.get(stage) ?? new Map<number, Contribution>();
    this.given.set(stage, given.set(m, said));
    await this.all(stage, given.size === MEMBERS.length);
    const blobs: Record<number, Uint8Array> = {};
    for (const [other, contribution] of given) {
      const to = stage === "keys" ? other : m;
      const blob = contribution.blobs[to];
      if (blob && (stage === "keys" || other !== m)) blobs[other] = blob;
    }
    const reply = { round: 2n, stage, members: MEMBERS, blobs };
    return stage === "unmask"
      ? gathered({ ...reply, blobs: {}, version: 3n }, MEAN)
      : gathered(reply);
  }

  private all(stage: string, here: boolean): Promise<void> {
    const waiting = this.waiting.get(stage) ?? [];
    this.waiting.set(stage, waiting);
    if (here) for (const go of waiting) go();
    if (here) return Promise.resolve();
    return new Promise((resolve) => waiting.push(resolve));
  }

  /** It was started again, and has forgotten everything. */
  restart(): void {
    this.given = new Map();
    this.waiting = new Map();
  }
}

let server: Server;
beforeEach(() => {
  server = new Server();
});

test("no message has a vector that one could read", async () => {
  const replies = await server.average();

  for (const [m, phone] of server.phones.entries()) {
    expect(replies[m]).toHaveProperty("message.version", 3n);
    expect(phone.kinds).toEqual(["keys", "shares", "value", "unmask"]);
    for (const { value } of phone.asked) {
      const { weight, tensors } = value as Contribution;
      expect(weight).toBe(0); // it is in the vector
      for (const { dtype, shape } of tensors) {
        expect([dtype, ...shape]).toEqual(["uint64", 1n, 4n]);
      }
    }
  }
});

test("the same numbers are other bytes each time", async () => {
  await server.average();
  server.restart();
  await server.average();

  const values = server.phones[0]?.payloads.filter((p) => p.length) ?? [];
  expect(values.length).toBe(2);
  const [first, second] = values.map(
    (v) => new BigUint64Array(v.slice().buffer),
  );
  expect(first?.some((number, i) => number === second?.[i])).toBe(false);
});

test.each(["keys", "shares", "value", "unmask"])(
  "a server that is killed at %s makes all begin with other keys",
  async (stage) => {
    let killed = 0;
    server.lie = (_, said) => {
      if (said.stage !== stage || killed >= MEMBERS.length) return undefined;
      if (++killed === MEMBERS.length) server.restart();
      throw new RefusedError("Expected keys first.", "order");
    };

    const replies = await server.average();

    for (const [m, phone] of server.phones.entries()) {
      expect(replies[m]).toHaveProperty("message.version", 3n);
      const keys = phone.asked
        .map(({ value }) => value as Contribution)
        .filter((said) => said.stage === "keys")
        .map((said) =>
          Buffer.from(said.blobs[m] as Uint8Array).toString("hex"),
        );
      expect(new Set(keys).size).toBe(2);
    }
  },
);

test("a server that forgets each time is given up", async () => {
  server.lie = () => {
    throw new RefusedError("Expected keys first.", "order");
  };

  const [error] = await server.average([0]);

  expect(error).toHaveProperty("reason", "order");
  expect(server.phones[0]?.asked.length).toBe(10);
});

test("no second sum of a round over others is unmasked", async () => {
  let killed = 0;
  server.lie = (m, { round, stage }) => {
    if (stage === "value" && killed && m === 0) {
      return gathered({ round, stage, members: [0, 1, 2] });
    }
    if (stage !== "unmask" || killed >= MEMBERS.length) return undefined;
    if (++killed === MEMBERS.length) server.restart();
    throw new RefusedError("Expected keys first.", "order");
  };
  const phone = server.phones[0] as FakeConversation;
  void server.average([1, 2, 3]);

  const [error] = await server.average([0]);

  expect(error).toHaveProperty(
    "message",
    expect.stringContaining("one sum in round 2"),
  );
  expect(error).toHaveProperty("reason", "late");
  expect(phone.kinds.filter((kind) => kind === "unmask").length).toBe(1);
});

test("a server that was secure gets no plain vector later", async () => {
  const phone = server.phones[0] as FakeConversation;
  phone.cohort = info({ secure: false });

  const [error] = await server.average([0]);

  expect(error).toHaveProperty("reason", "cohort");
  expect(phone.asked).toEqual([]);
});

test("a server that turns plain in the middle gets nothing more", async () => {
  const phone = server.phones[0] as FakeConversation;
  server.lie = () => {
    phone.cohort = info({ secure: false });
    throw new RefusedError("Expected keys first.", "order");
  };

  const [error] = await server.average([0]);

  expect(error).toHaveProperty("reason", "cohort");
  expect(phone.kinds).toEqual(["keys"]);
});

test("a vector that does not fit is refused before it is sent", async () => {
  const phone = new FakeConversation(info(), () => gathered({}));
  const averaging = new SecureAveraging(phone, raw);

  await expect(
    averaging.average(() => info(), 0, 2n, Float32Array.of(1e7), 1),
  ).rejects.toThrow("under masks of 64");
  expect(phone.asked).toEqual([]);
});

test.each(["shares", "value"])(
  "a server that came back with the average at %s is not asked for another",
  async (stage) => {
    server.lie = (_, said) =>
      said.stage === stage
        ? gathered({ round: 2n, stage, members: [0, 1], version: 3n }, MEAN)
        : undefined;

    const replies = await server.average();

    expect(replies[0]).toHaveProperty("message.version", 3n);
    expect(server.phones[0]?.kinds.at(-1)).toBe(stage);
  },
);

test.each([{ stage: "unmask" }, { round: 1n }])(
  "a reply to another question is refused, %o",
  async (other) => {
    server.lie = (_, { round, stage }) => gathered({ round, stage, ...other });

    const [error] = await server.average([0]);

    expect(error).toBeInstanceOf(RefusedError);
    expect(error).toHaveProperty(
      "message",
      expect.stringContaining("Expected a reply to keys"),
    );
  },
);

test("a server that leaves out a phone after its value is noticed", async () => {
  server.lie = (m, { round, stage }) =>
    m === 0 && stage === "value"
      ? gathered({ round, stage, members: [1, 2, 3] })
      : undefined;
  void server.average([1, 2, 3]);

  const [error] = await server.average([0]);

  expect(error).toBeInstanceOf(RefusedError);
  expect(error).toHaveProperty("reason", "late");
  expect(server.phones[0]?.kinds.at(-1)).toBe("value");
});

test.each([
  ["keys of its own", { 0: new Uint8Array(97) }, "the keys that this phone"],
  ["no keys", {}, "the keys that this phone"],
])("a roster with %s goes no further", async (_, blobs, words) => {
  server.lie = (_m, { round, stage }) => gathered({ round, stage, blobs });

  const [error] = await server.average([0]);

  expect(error).toHaveProperty("message", expect.stringContaining(words));
  expect(error).toHaveProperty("reason", "late");
  expect(server.phones[0]?.kinds).toEqual(["keys"]);
});

test("masks of other widths are refused before anything is sent", async () => {
  server = new Server(info({ bits: 8 }));

  const [error] = await server.average([0]);

  expect(error).toHaveProperty(
    "message",
    expect.stringContaining("Expected masks of 32 or 64 bits"),
  );
  expect(server.phones[0]?.asked).toEqual([]);
});
