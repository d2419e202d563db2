import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { SplitClient } from "../src/client.js";
import { TransportError } from "../src/errors.js";
import { CheckpointSchema } from "../src/gen/split_pb.js";
import type { RetryOptions } from "../src/retry.js";
import { MemoryStore } from "../src/store/store.js";
import {
  batch,
  DESCRIPTION,
  MODEL,
  ROWS,
  SmallRuntime,
  SmallServer,
} from "./small_phone.js";

const ONCE: RetryOptions = { giveUpS: 0 };

/** @param rows Of a batch of the file. */
async function open(
  server: SmallServer,
  store = new MemoryStore(),
  rows = ROWS,
): Promise<SplitClient> {
  const of = JSON.stringify(DESCRIPTION, (key, value) =>
    key === "shape" && value[0] === ROWS ? [rows, ...value.slice(1)] : value,
  );
  return await SplitClient.open({
    baseUrl: "http://localhost/",
    model: MODEL,
    description: { ...JSON.parse(of), batch_size: rows },
    transport: server,
    runtime: new SmallRuntime(),
    store,
    retry: ONCE,
  });
}

async function step(client: SplitClient): Promise<void> {
  const { x, y, count } = batch(client.nextStep);
  await client.step(x, y, count);
}

/** From here on no gradient arrives, or no answer to it comes back. */
function lose(server: SmallServer, which: "send" | "reply" = "reply"): void {
  server.moments = (what) => {
    if (what === `${which} backward`) throw new TransportError("lost");
  };
}

test("a step is taken once though the server forgot a session before it", async () => {
  const server = new SmallServer();
  const store = new MemoryStore();
  await open(server, store); // the page is closed before its first step
  server.sessions.clear();
  const client = await open(server, store);
  lose(server);
  await expect(step(client)).rejects.toThrow(TransportError);
  server.moments = () => {};

  const again = await open(server, store); // the page was killed there

  expect(again.resumed).toMatchObject({ step: 0, taken: true });
  expect(server.taken).toHaveLength(1);
});

test("a session that a cohort's message opened is gone on with", async () => {
  const server = new SmallServer();
  const store = new MemoryStore();
  const client = await open(server, store);
  await step(client);
  await step(client);
  await client.conversation.goodbye(); // as a training with others ends
  const value = create(CheckpointSchema);
  await client.conversation.ask("done", { case: "checkpoint", value });
  lose(server);
  await expect(step(client)).rejects.toThrow(TransportError);
  server.moments = () => {};

  await step(client);
  const again = await open(server, store);
  await step(again);

  expect(server.taken).toEqual(["s0 0", "s0 1", "s1 0", "s1 1", "s1 2"]);
  expect(again.nextStep).toBe(5);
});

test("a step that was begun with another file does not keep the phone out", async () => {
  const store = new MemoryStore();
  const server = new SmallServer();
  const client = await open(server, store);
  await step(client);
  lose(server);
  await expect(step(client)).rejects.toThrow(TransportError);
  server.moments = () => {};

  const larger = await open(server, store, ROWS + 1);

  expect(larger.resumed).toBeUndefined();
  expect(larger.session).toBe("s1");
  expect(larger.nextStep).toBe(1);
});

test.each(["codec", "shape"])(
  "messages that are refused for their %s are not sent for ever",
  async (reason) => {
    const store = new MemoryStore();
    const server = new SmallServer();
    const client = await open(server, store);
    lose(server, "send");
    await expect(step(client)).rejects.toThrow(TransportError);
    server.moments = (what) => {
      if (what === "send forward") server.refuse = reason;
    };

    const again = await open(server, store);
    server.moments = () => {};
    await step(again);

    expect(again.session).toBe("s1");
    expect(again.nextStep).toBe(1);
  },
);
