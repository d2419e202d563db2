import { expect, test } from "vitest";
import { SplitClient } from "../src/client.js";
import {
  DataError,
  RefusedError,
  SplitError,
  TransportError,
} from "../src/errors.js";
import type { Envelope } from "../src/gen/split_pb.js";
import type { RetryOptions } from "../src/retry.js";
import { type Changes, MemoryStore } from "../src/store/store.js";
import {
  batch,
  DESCRIPTION,
  MODEL,
  SmallRuntime,
  SmallServer,
} from "./small_phone.js";

const STEPS = 8;
const AT_ONCE: RetryOptions = { giveUpS: 5, firstS: 0, longestS: 0 };

/** Nothing of the page runs any more. */
class Killed extends Error {}

/** Throws at one of the moments that it counts. */
class Moments {
  count = 0;
  readonly seen: string[] = [];

  constructor(
    private readonly fatal = -1,
    private readonly error: () => Error = () => new Killed(),
  ) {}

  readonly at = (what: string): void => {
    this.seen.push(what);
    if (this.count++ === this.fatal) throw this.error();
  };
}

/** A store in which a page can die before and after each write. */
class MortalStore extends MemoryStore {
  moments = new Moments();

  override async write(changes: Changes): Promise<void> {
    this.moments.at("write");
    await super.write(changes);
    this.moments.at("written");
  }
}

interface Parts {
  server: SmallServer;
  runtime?: SmallRuntime;
  store?: MemoryStore;
  retry?: RetryOptions;
}

async function open(parts: Parts): Promise<SplitClient> {
  return await SplitClient.open({
    baseUrl: "http://localhost/",
    model: MODEL,
    description: DESCRIPTION,
    transport: parts.server,
    runtime: parts.runtime ?? new SmallRuntime(),
    store: parts.store ?? new MemoryStore(),
    retry: parts.retry ?? AT_ONCE,
  });
}

/** Steps up to `until`, each with the batch of its number. */
async function train(client: SplitClient, until = STEPS): Promise<void> {
  while (client.nextStep < until) {
    const { x, y, count } = batch(client.nextStep);
    await client.step(x, y, count);
  }
  await client.finish();
}

/** Weights of all parts, as they are without trouble. */
async function undisturbed(): Promise<unknown> {
  const server = new SmallServer();
  const client = await open({ server });
  await train(client);
  return [await client.getState(), server.body];
}

function eachOnce(server: SmallServer): void {
  const session = server.taken[0]?.split(" ")[0];
  expect(server.taken).toEqual(
    Array.from({ length: STEPS }, (_, step) => `${session} ${step}`),
  );
}

test("a step moves all three parts, and says what it came to", async () => {
  const server = new SmallServer();
  const client = await open({ server });
  const { x, y, count } = batch(0);

  const before = await client.evaluate(x, y, count);
  const result = await client.step(x, y, count);
  const after = await client.evaluate(x, y, count);

  expect(result).toMatchObject({ step: 0, loss: before.loss, taken: true });
  expect(after.loss).toBeLessThan(before.loss);
  expect(result.smashed[0]?.codesShape).toEqual([count, 2]);
  expect(result.bytes.up).toBeGreaterThan(0);
  expect(client.nextStep).toBe(1);
});

test("a batch that is not full sends its own rows alone", async () => {
  const client = await open({ server: new SmallServer() });
  const { x, y } = batch(0);
  const first = x.map((rows) => rows.slice(0, 2));
  const label = y.map((rows) => rows.slice(0, 1));

  const one = await client.step(first, label, 1);

  expect(one.smashed[0]?.codes.length).toBe(2);
  expect(await client.infer(first, 1)).toHaveLength(1);
});

test("wherever a message or its answer is lost, each step is taken once", async () => {
  const calm = await undisturbed();
  const counted = new Moments();
  await train(await open({ server: new SmallServer(counted.at) }));

  for (let lost = 0; lost < counted.count; lost++) {
    const moments = new Moments(lost, () => new TransportError("lost"));
    const server = new SmallServer(moments.at);
    const client = await open({ server });
    await train(client);

    expect([await client.getState(), server.body], `at ${lost}`).toEqual(calm);
    eachOnce(server);
  }
});

test("wherever the page is killed, the next one goes on bit for bit", async () => {
  const calm = await undisturbed();
  const run = async (fatal: number) => {
    const moments = new Moments(fatal);
    const server = new SmallServer(moments.at);
    const store = new MortalStore();
    store.moments = moments;
    for (let life = 0; life < 2; life++) {
      try {
        const runtime = new SmallRuntime(moments.at);
        const client = await open({ server, store, runtime });
        await train(client);
        const state = await client.getState();
        return { moments, server, end: [state, server.body] };
      } catch (error) {
        // A runtime, store or server that dies ends the page with it.
        if (!(error instanceof Killed)) throw error;
      }
    }
    throw new Error("killed twice");
  };
  const { moments } = await run(-1);
  expect(moments.count).toBeGreaterThan(100);

  for (let fatal = 0; fatal < moments.count; fatal++) {
    const { server, end } = await run(fatal);
    expect(end, `at ${fatal}: ${moments.seen[fatal]}`).toEqual(calm);
    eachOnce(server);
  }
});

test("a server that dies is brought to where it was", async () => {
  const calm = await undisturbed();
  for (let death = 1; death < 4 * STEPS; death++) {
    let count = 0;
    const server: SmallServer = new SmallServer(() => {
      if (count++ === death) {
        server.die();
        throw new TransportError("dead");
      }
    });
    server.keepsCheckpoints = true;
    server.every = 3;
    const store = new MemoryStore();
    let client = await open({ server, store });
    await train(client, STEPS / 2);
    client = await open({ server, store }); // the log outlives the page
    await train(client);

    expect([await client.getState(), server.body], `at ${death}`).toEqual(calm);
  }
});

/** Deals with a backward of a broken connection behind the next hello. */
class LateServer extends SmallServer {
  late: Envelope | undefined;

  override async exchange(envelope: Envelope): Promise<Envelope> {
    const { case: kind } = envelope.message;
    if (kind === "backward" && this.taken.length === 3 && !this.late) {
      this.late = envelope;
      throw new TransportError("the connection was cut");
    }
    const reply = await super.exchange(envelope);
    if (kind === "hello" && this.late && this.taken.length === 3) {
      await super.exchange(this.late);
    }
    return reply;
  }
}

test("a step may be taken between a hello and what is sent again", async () => {
  const calm = await undisturbed();
  const server = new LateServer();
  const client = await open({ server });

  await train(client);

  expect(server.late).toBeDefined();
  expect([await client.getState(), server.body]).toEqual(calm);
  eachOnce(server);
});

test("a log that is full asks for a checkpoint, and is empty after", async () => {
  const server = new SmallServer();
  server.keepsCheckpoints = true;
  const store = new MemoryStore();
  const client = await open({ server, store, retry: { logBytes: 500 } });

  await train(client);

  expect(server.heard).toContain("checkpoint");
  expect((await store.keys("log/")).length).toBeLessThan(STEPS);
});

test("a step that may have arrived is finished before the next", async () => {
  const calm = await undisturbed();
  let away = false;
  const server: SmallServer = new SmallServer((what) => {
    away ||= what === "reply backward" && server.taken.length === 3;
    if (away) throw new TransportError("no network");
  });
  const client = await open({ server, retry: { giveUpS: 0 } });

  await expect(train(client)).rejects.toThrow(TransportError);
  expect(client.nextStep).toBe(3); // the third is on its way
  server.moments = () => {};
  const third = await client.finish();
  await train(client);

  expect(third).toMatchObject({ step: 2, taken: true });
  expect([await client.getState(), server.body]).toEqual(calm);
  eachOnce(server);
});

test("a loss that is not finite moves nothing", async () => {
  const server = new SmallServer();
  const client = await open({ server });
  const { y, count } = batch(0);
  const before = await client.getState();

  const result = await client.step([new Float32Array(6).fill(3e38)], y, count);

  expect(result).toMatchObject({ taken: false, loss: Number.NaN });
  expect(await client.getState()).toEqual(before);
  expect(server.taken).toEqual([]);
  await train(client);
  eachOnce(server);
});

test("a refusal leaves the step out, and the next is as if it were not", async () => {
  const calm = await undisturbed();
  const server: SmallServer = new SmallServer((what) => {
    if (what === "send backward" && server.taken.length === 2 && !refused) {
      refused = true;
      server.refuse = "learning-rate";
    }
  });
  let refused = false;
  const client = await open({ server });

  await expect(train(client)).rejects.toThrow(RefusedError);
  expect(client.nextStep).toBe(2);
  await train(client);

  expect([await client.getState(), server.body]).toEqual(calm);
});

test("a session that the server forgot is followed by another", async () => {
  const server = new SmallServer();
  const store = new MemoryStore();
  await train(await open({ server, store }), 3);
  server.sessions.clear();

  const client = await open({ server, store });

  expect(client.session).toBe("s1");
  expect(client.nextStep).toBe(3);
  await train(client);
  expect(server.taken.slice(3)).toEqual(
    Array.from({ length: STEPS - 3 }, (_, step) => `s1 ${step}`),
  );
});

test("goodbye ends the session; the half goes on in another", async () => {
  const calm = await undisturbed();
  const server = new SmallServer();
  const store = new MemoryStore();
  const first = await open({ server, store });
  await train(first, 4);
  await first.close();

  const client = await open({ server, store });
  await train(client);

  expect(client.session).toBe("s1");
  expect([await client.getState(), server.body]).toEqual(calm);
  await expect(first.finish()).rejects.toThrow("after close()");
});

test("what is saved comes back", async () => {
  const server = new SmallServer();
  const client = await open({ server });
  await train(client, 3);
  const state = await client.getState();

  const file = await client.save();
  await train(client);
  await client.load(file);

  expect(await client.getState()).toEqual(state);
  expect(client.nextStep).toBe(3);
  expect(server.heard.slice(-1)).toEqual(["restore"]);
  await expect(client.load(file.slice(0, -30))).rejects.toThrow(DataError);
});

test("the next step is one more at most, whenever it is asked for", async () => {
  const runtime = new SmallRuntime();
  const run = runtime.run.bind(runtime);
  const heard: number[] = [];
  runtime.run = async (signature, inputs) => {
    const made = await run(signature, inputs);
    heard.push(client?.nextStep ?? 0);
    return made;
  };
  let client: SplitClient | undefined;
  client = await open({ server: new SmallServer(), runtime });

  await train(client, 3);

  expect(Math.max(...heard)).toBe(3);
  expect(heard).toEqual([...heard].sort());
});

test("calls wait for each other", async () => {
  const client = await open({ server: new SmallServer() });
  const { x, y, count } = batch(0);

  const all = await Promise.all([
    client.step(x, y, count),
    client.infer(x, count),
    client.step(x, y, count),
  ]);

  expect([all[0].step, all[2].step]).toEqual([0, 1]);
});

test.each([
  ["rows", [new Float32Array(5)], 3, "6 numbers of float32"],
  ["a kind", [new Int32Array(6)], 3, "6 numbers of float32"],
  ["inputs", [], 3, "one array for each of the inputs"],
  ["a count", [new Float32Array(8)], 4, "1 to 3 examples"],
])("wrong %s are refused in words", async (_, x, count, words) => {
  const client = await open({ server: new SmallServer() });

  await expect(client.infer(x, count)).rejects.toThrow(words);
});

test("files that LiteRT.js does not take are refused at once", async () => {
  const half = structuredClone(DESCRIPTION) as { signatures: unknown };
  Object.assign(half.signatures as object, {
    head_infer: {
      inputs: [],
      outputs: [{ name: "smashed_0_codes", shape: [3, 2], dtype: "float16" }],
    },
  });

  const opening = SplitClient.open({
    baseUrl: "http://localhost/",
    model: MODEL,
    description: half as never,
    transport: new SmallServer(),
    runtime: new SmallRuntime(),
  });

  await expect(opening).rejects.toThrow(
    "smashed_0_codes of head_infer as float16",
  );
  await expect(opening).rejects.toThrow(SplitError);
});

test("a file of another export is refused", async () => {
  const opening = SplitClient.open({
    baseUrl: "http://localhost/",
    model: new ArrayBuffer(3),
    description: DESCRIPTION,
    transport: new SmallServer(),
    runtime: new SmallRuntime(),
  });

  await expect(opening).rejects.toThrow("different exports");
});
