import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ProtocolError, RefusedError, TransportError } from "../src/errors.js";
import {
  DoneSchema,
  EnvelopeSchema,
  GoodbyeSchema,
  RefusalSchema,
} from "../src/gen/split_pb.js";
import { Retry } from "../src/retry.js";
import type { CutTensor } from "../src/tensors.js";
import { codecOf, contentSize, raw } from "../src/wire/codecs.js";
import {
  envelopeOf,
  expectKind,
  nbytesOf,
  pack,
  unpack,
} from "../src/wire/envelope.js";
import { connect } from "../src/wire/transport.js";

const TENSORS: CutTensor[] = [
  {
    name: "a",
    shape: [2, 600],
    codes: new Uint8Array(1200).map((_, i) => i % 7),
    codesShape: [2, 600],
    scales: new Float32Array([0.5, 1, 0.25, 2]),
  },
  { name: "b", shape: [2], codes: new Float32Array([1, -1]), codesShape: [2] },
];
const GOODBYE = envelopeOf({
  case: "goodbye",
  value: create(GoodbyeSchema, { session: "s" }),
});

test.each(["raw", "zstd"])("tensors come back through %s", async (name) => {
  const codec = await codecOf(name);

  const { described, payload } = pack(TENSORS, codec);

  expect(unpack(described, payload, codec)).toEqual(TENSORS);
});

test("zstd says what a frame holds, and is smaller", async () => {
  const zstd = await codecOf("zstd");
  for (const nbytes of [0, 1, 255, 256, 70_000]) {
    const packed = zstd.encode(new Uint8Array(nbytes));

    expect(contentSize(packed)).toBe(nbytes);
    expect(packed.length).toBeLessThan(60);
    expect(zstd.decode(packed, nbytes).length).toBe(nbytes);
    expect(() => zstd.decode(packed, nbytes + 1)).toThrow(ProtocolError);
  }
});

test.each([
  ["no frame", (frame: Uint8Array) => frame.fill(1, 0, 4)],
  ["an end that is missing", (frame: Uint8Array) => frame.subarray(0, -3)],
  ["nothing", () => new Uint8Array()],
])("of zstd %s is refused", async (_, harm) => {
  const zstd = await codecOf("zstd");
  const packed = zstd.encode(new Uint8Array(70_000).map((_, i) => i % 251));

  expect(() => zstd.decode(harm(packed), 70_000)).toThrow(ProtocolError);
  expect(zstd.decode(zstd.encode(new Uint8Array(9)), 9).length).toBe(9);
});

test("another codec is refused in words", async () => {
  await expect(codecOf("deflate")).rejects.toThrow("the codec raw or zstd");
});

test("a payload that is longer or shorter than its tensors is refused", () => {
  const { described, payload } = pack(TENSORS, raw);

  for (const wrong of [payload.subarray(1), new Uint8Array([...payload, 0])]) {
    expect(() => unpack(described, wrong, raw)).toThrow(ProtocolError);
  }
});

test("bytes are counted as they travel", () => {
  for (const nbytes of [0, 1, 127, 128, 70_000]) {
    const envelope = envelopeOf(GOODBYE.message, new Uint8Array(nbytes));

    expect(nbytesOf(envelope)).toBe(toBinary(EnvelopeSchema, envelope).length);
  }
});

test("a refusal and another kind are told apart", () => {
  const refusal = envelopeOf({
    case: "refusal",
    value: create(RefusalSchema, { reason: "order", text: "no" }),
  });

  expect(() => expectKind(refusal, "done")).toThrow(RefusedError);
  expect(() => expectKind(GOODBYE, "done")).toThrow("Received: goodbye");
});

test("connect posts an envelope with the token, and reads the reply", async () => {
  let sent: Request | undefined;
  const transport = connect({
    baseUrl: "https://phone.test:1/",
    token: "secret",
    fetch: async (input, init) => {
      sent = new Request(input, init);
      const done = envelopeOf({ case: "done", value: create(DoneSchema) });
      return new Response(toBinary(EnvelopeSchema, done), {
        headers: { "content-type": "application/proto" },
      });
    },
  });

  const reply = await transport.exchange(GOODBYE, 1000);

  expect(reply.message.case).toBe("done");
  expect(sent?.url).toBe(
    "https://phone.test:1/keras_split.v1.SplitTraining/Exchange",
  );
  expect(sent?.headers.get("authorization")).toBe("Bearer secret");
  const body = new Uint8Array((await sent?.arrayBuffer()) ?? []);
  expect(fromBinary(EnvelopeSchema, body).message).toEqual(GOODBYE.message);
});

test.each([
  [401, "unauthenticated", undefined, RefusedError, "unauthenticated"],
  [403, "permission_denied", undefined, RefusedError, "permission"],
  [413, "resource_exhausted", "size", RefusedError, "size"],
  [503, "unavailable", "busy", RefusedError, "busy"],
  [404, "not_found", undefined, RefusedError, "unimplemented"],
  [503, "unavailable", undefined, TransportError, undefined],
])("status %i, %s, %s becomes an error of ours", async (...given) => {
  const [status, code, said, kind, reason] = given;
  const transport = connect({
    baseUrl: "https://phone.test",
    fetch: async () =>
      new Response(JSON.stringify({ code, message: "because" }), {
        status,
        headers: {
          "content-type": "application/json",
          ...(said && { "keras-split-reason": said }),
        },
      }),
  });

  const error = await transport.exchange(GOODBYE, 1000).catch((e) => e);

  expect(error).toBeInstanceOf(kind);
  expect(error.reason).toBe(reason);
  expect(error.message).toContain("because");
});

test("no network, no answer in time: both say where the server should be", async () => {
  const lost = connect({
    baseUrl: "https://phone.test",
    fetch: async () => {
      throw new TypeError("Failed to fetch");
    },
  });
  const silent = connect({
    baseUrl: "https://phone.test",
    fetch: (_, init) =>
      new Promise((_, reject) =>
        init?.signal?.addEventListener("abort", () =>
          reject(init.signal?.reason),
        ),
      ),
  });

  for (const transport of [lost, silent]) {
    const error = await transport.exchange(GOODBYE, 20).catch((e) => e);

    expect(error).toBeInstanceOf(TransportError);
    expect(error.message).toContain("https://phone.test");
  }
});

test("pauses grow, and end in time", async () => {
  const pauses: number[] = [];
  const retry = new Retry({
    giveUpS: 0.3,
    firstS: 0.02,
    onTrouble: (_, pauseS) => pauses.push(pauseS),
  });

  const calling = retry.call(async () => {
    throw new TransportError("away");
  });

  await expect(calling).rejects.toThrow("away");
  expect(pauses.length).toBeGreaterThan(2);
  expect(pauses.at(-1)).toBeGreaterThan(pauses[0] ?? 0);
});

test("a pause that is less than none is refused", () => {
  expect(() => new Retry({ giveUpS: -1 })).toThrow("giveUpS of 0 or more");
});
