/** A page that does what a test says: `window.phone` is a phone. */

import { toBinary } from "@bufbuild/protobuf";
import {
  type ClientDescription,
  connect,
  LiteRtRuntime,
  SplitClient,
  type StepResult,
  type Tensor,
  type Tensors,
  WorkerRuntime,
} from "keras-split-client";
import { EnvelopeSchema } from "../../src/gen/split_pb.js";

/** What a test says of a phone. */
interface Options {
  readonly token?: string;
  /** Address of examples: x as float32, then y as int32. */
  readonly data: string;
  /** Where client.tflite and client.json are; by default at the server. */
  readonly files?: string;
  readonly learningRate: number;
  readonly giveUpS?: number;
  /** Whether LiteRT.js runs in the page, not in a worker. */
  readonly inPage?: boolean;
  /** Whether what the server says is kept, for `replies`. */
  readonly record?: boolean;
}

let client: SplitClient;
let examples: { x: Float32Array; y: Int32Array; width: number };
let options: Options;
const replies: Uint8Array[] = [];
const timed = { known: {} } as {
  about: ClientDescription;
  known: Tensors;
  runtime: WorkerRuntime;
};

const phone = {
  async open(given: Options): Promise<{ session: string; nextStep: number }> {
    options = given;
    const headers: HeadersInit = given.token
      ? { authorization: `Bearer ${given.token}` }
      : {};
    const file = async (name: string) =>
      await get((given.files ?? "") + name, headers);
    const description: ClientDescription = JSON.parse(
      new TextDecoder().decode(await file("/client.json")),
    );
    const data = await get(given.data);
    const width = (description.inputs[0]?.shape ?? []).reduce(
      (product, axis) => product * axis,
      1,
    );
    const count = data.byteLength / 4 / (width + 1);
    examples = {
      x: new Float32Array(data, 0, count * width),
      y: new Int32Array(data, count * width * 4),
      width,
    };
    const wire = connect({ baseUrl: location.origin, token: given.token });
    const lite = { wasm: new URL("/wasm/", location.href).href };
    client = await SplitClient.open({
      baseUrl: location.origin,
      token: given.token,
      model: await file("/client.tflite"),
      description,
      runtime: given.inPage ? new LiteRtRuntime(lite) : new WorkerRuntime(lite),
      transport: {
        async exchange(envelope, timeoutMs) {
          const reply = await wire.exchange(envelope, timeoutMs);
          if (given.record)
            replies.push(toBinary(EnvelopeSchema, reply as never));
          return reply;
        },
      },
      retry: { giveUpS: given.giveUpS ?? 60, firstS: 0.05, longestS: 0.5 },
    });
    return { session: client.session, nextStep: client.nextStep };
  },

  /** The next step, with the examples of its number. */
  async step(): Promise<Pick<StepResult, "step" | "loss" | "ms" | "bytes">> {
    const { x, y, width } = examples;
    const size = client.description.batch_size;
    // Each fifth batch is not full.
    const count = client.nextStep % 5 === 4 ? size - 3 : size;
    const from = (client.nextStep * size) % (y.length - size + 1);
    const { step, loss, ms, bytes } = await client.step(
      [x.slice(from * width, (from + count) * width)],
      [y.slice(from, from + count)],
      count,
      { learningRate: options.learningRate },
    );
    return { step, loss, ms, bytes };
  },

  /** Steps until so many are taken; those that this page took. */
  async train(until: number): Promise<number[]> {
    const losses: number[] = [];
    while (client.nextStep < until) losses.push((await phone.step()).loss);
    await client.finish();
    return losses;
  },

  async predict(count: number): Promise<number[]> {
    const x = examples.x.slice(0, count * examples.width);
    return [...((await client.infer([x], count))[0] ?? [])];
  },

  /** What `save` writes, as text that a test can carry. */
  async save(): Promise<string> {
    return text(await client.save());
  },

  /** The next thing that the server said, and takes it away. */
  reply(): string | null {
    const reply = replies.shift();
    return reply ? text(reply) : null;
  },

  /** For benchmarks: a file whose signatures are run one by one. */
  async load(folder: string, threads: number): Promise<number> {
    const began = performance.now();
    const get = async (name: string) =>
      (await fetch(`${folder}/${name}`)).arrayBuffer();
    const parse = async (name: string) =>
      JSON.parse(new TextDecoder().decode(await get(name)));
    timed.about = await parse("client.json");
    const bytes = await get("inputs.bin");
    const kinds = {
      float32: Float32Array,
      int32: Int32Array,
      uint8: Uint8Array,
    };
    for (const { name, dtype, shape, from, size } of await parse(
      "inputs.json",
    )) {
      const Kind = kinds[dtype as keyof typeof kinds];
      timed.known[name] = { data: new Kind(bytes, from, size), shape };
    }
    const wasm = new URL("/wasm/", location.href).href;
    timed.runtime = new WorkerRuntime({ wasm, threads });
    await timed.runtime.load(new Uint8Array(await get("client.tflite")));
    return performance.now() - began;
  },

  /** How many milliseconds one call takes. */
  async time(signature: string): Promise<number> {
    const wanted = timed.about.signatures[signature]?.inputs ?? [];
    const inputs = Object.fromEntries(
      wanted.map(({ name }) => [name, timed.known[name] as Tensor]),
    );
    const began = performance.now();
    await timed.runtime.run(signature, inputs);
    return performance.now() - began;
  },

  nextStep: (): number => client.nextStep,
  close: (): Promise<void> => client.close(),
};

/** A file, asked for again where a connection was cut meanwhile. */
async function get(name: string, headers?: HeadersInit): Promise<ArrayBuffer> {
  for (let left = 5; ; left--) {
    try {
      const response = await fetch(name, headers && { headers });
      if (!response.ok) throw new Error(`${name}: status ${response.status}`);
      return await response.arrayBuffer();
    } catch (error) {
      if (left === 0) throw new Error(`${name}: ${error}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Bytes as base64. */
function text(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));
}

declare global {
  interface Window {
    phone: typeof phone;
  }
}

window.phone = phone;
