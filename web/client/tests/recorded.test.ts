/** The recorded session of "On the phone", with LiteRT.js in Node. */
import { readFileSync } from "node:fs";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { SplitClient } from "../src/client.js";
import { RefusedError, TransportError } from "../src/errors.js";
import { type Envelope, EnvelopeSchema } from "../src/gen/split_pb.js";
import { nodeRuntime } from "../src/node/index.js";
import { MemoryStore } from "../src/store/store.js";
import { raw } from "../src/wire/codecs.js";
import { unpack } from "../src/wire/envelope.js";
import type { Transport } from "../src/wire/transport.js";

interface Recorded {
  plan: {
    do: "train" | "evaluate" | "close";
    x: number[][];
    y: number[];
    sample_weight?: number[];
    logs: { loss: number | null; accuracy: number };
  }[];
  exchanges: { request: JsonValue; reply: JsonValue; lost?: boolean }[];
}

const FOLDER = new URL("../../../docs/assets/session/", import.meta.url);
const file = (name: string) => readFileSync(new URL(name, FOLDER));
const recorded: Recorded = JSON.parse(file("session.json").toString());

/** Answers as the server did, and keeps what it is asked. */
class Player implements Transport {
  readonly asked: [Envelope, Envelope][] = [];

  async exchange(envelope: Envelope): Promise<Envelope> {
    const exchange = recorded.exchanges[this.asked.length];
    if (!exchange) throw new RefusedError("the session is over", "session");
    const wanted = fromJson(EnvelopeSchema, exchange.request);
    this.asked.push([structuredClone(envelope), wanted]);
    if (exchange.lost) throw new TransportError("lost");
    return fromJson(EnvelopeSchema, exchange.reply);
  }
}

test("it asks what was asked, and its losses are those that came", async () => {
  const server = new Player();
  const client = await SplitClient.open({
    baseUrl: "http://localhost/",
    model: new Uint8Array(file("client.tflite")).buffer,
    description: JSON.parse(file("client.json").toString()),
    transport: server,
    runtime: nodeRuntime(),
    store: new MemoryStore(),
    retry: { firstS: 0 },
  });

  for (const { do: what, logs, ...batch } of recorded.plan) {
    if (what === "close") {
      await client.close();
      continue;
    }
    const x = [Float32Array.from(batch.x.flat())];
    const y = [Int32Array.from(batch.y)];
    const count = batch.y.length;
    const weights = batch.sample_weight;
    const made =
      what === "evaluate"
        ? await client.evaluate(x, y, count)
        : await client.step(x, y, count, {
            sampleWeight: weights && Float32Array.from(weights),
          });
    if (logs.loss === null) {
      expect(made).toMatchObject({ loss: Number.NaN, taken: false });
    } else {
      expect(made.loss).toBeCloseTo(logs.loss, 5);
      expect((made.correct[0] ?? 0) / count).toBeCloseTo(logs.accuracy, 5);
    }
  }

  expect(server.asked.length).toBe(recorded.exchanges.length);
  for (const [sent, wanted] of server.asked) {
    expect(sent.message).toEqual(wanted.message);
    const tensors = (sent.message.value as { tensors?: never[] }).tensors ?? [];
    const theirs = unpack(tensors, wanted.payload, raw);
    unpack(tensors, sent.payload, raw).forEach((tensor, i) => {
      tensor.codes.forEach((code, at) => {
        const step = Math.abs(code - (theirs[i]?.codes[at] ?? Number.NaN));
        expect(step).toBeLessThanOrEqual(1);
      });
      tensor.scales?.forEach((scale, at) => {
        const same = theirs[i]?.scales?.[at] ?? Number.NaN;
        expect(Math.abs(scale - same)).toBeLessThanOrEqual(
          1e-4 * Math.abs(same) + 1e-6,
        );
      });
    });
  }
});
