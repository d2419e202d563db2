/** The smallest split model, in plain arithmetic, and its server. */
import { create } from "@bufbuild/protobuf";
import type { ClientDescription } from "../src/description.js";
import {
  DoneSchema,
  type Envelope,
  FeaturesSchema,
  RefusalSchema,
  SmashedGradSchema,
  SnapshotTakenSchema,
  WelcomeSchema,
} from "../src/gen/split_pb.js";
import type { Runtime } from "../src/runtime/runtime.js";
import type { CutTensor, Tensor, Tensors } from "../src/tensors.js";
import { raw } from "../src/wire/codecs.js";
import {
  envelopeOf,
  type Message,
  pack,
  unpack,
} from "../src/wire/envelope.js";
import type { Transport } from "../src/wire/transport.js";

export const ROWS = 3;
const WIDTH = 2;
const rows = (name: string, width: number, dtype = "float32") => ({
  name,
  shape: width ? [ROWS, width] : [ROWS],
  dtype,
});
const one = (name: string, dtype = "float32") => ({ name, shape: [], dtype });
const rule = { dtype: "float32", granularity: "example", rounding: "nearest" };
const spec = { shape: [WIDTH] };
const x = rows("x_0", WIDTH);
const smashed = rows("smashed_0_codes", WIDTH);
const features = rows("features_0_codes", WIDTH);
const state = ["head", "tail"].map((name) => ({
  name,
  shape: [WIDTH],
  dtype: "float32",
  variable: name,
  kind: "weight" as const,
}));
const labeled = [
  rows("y_0", 0),
  rows("sample_weight_0", 0),
  one("count", "int32"),
];
const contract = {
  fingerprint: "f00d",
  cut: ["a", "b"],
  smashed: [{ name: "a", ...spec }],
  features: [{ name: "b", ...spec }],
};

/** Its client.json: y = sum(tail * body * head * x). */
export const DESCRIPTION: ClientDescription = {
  format: 1,
  protocol: 1,
  mode: "train",
  precision: "float32",
  batch_size: ROWS,
  contract: {
    ...contract,
    quantization: { activations: rule, gradients: rule },
    codec: "raw",
    labels_on_server: false,
  },
  hello: { protocol: 1, contract: { fingerprint: "f00d" }, later: "field" },
  inputs: [{ name: "x", ...spec, dtype: "float32", half: "head" }],
  outputs: [
    {
      name: "y",
      shape: [],
      dtype: "float32",
      label: { shape: [], dtype: "float32" },
    },
  ],
  optimizer: { name: "SGD", learning_rate: 0.1, config: "" },
  preprocess: null,
  state,
  frozen: "ice",
  signatures: {
    head_forward: { inputs: [x], outputs: [smashed, one("penalty")] },
    tail_step: {
      inputs: [features, ...labeled, one("learning_rate")],
      outputs: [one("loss"), rows("features_grad_0_codes", WIDTH)],
    },
    head_backward: {
      inputs: [x, rows("smashed_grad_0_codes", WIDTH), one("count", "int32")],
      outputs: [one("done", "int32")],
    },
    head_infer: { inputs: [x], outputs: [smashed] },
    tail_infer: { inputs: [features], outputs: [rows("prediction_0", 0)] },
    tail_evaluate: { inputs: [features, ...labeled], outputs: [one("loss")] },
    get_state: { inputs: [], outputs: state },
    set_state: { inputs: state, outputs: [one("done", "int32")] },
  },
  tflite_sha256: "",
};

/** The bytes of its "file", and their hash. */
export const MODEL = new Uint8Array([1, 2, 3]).buffer;
Object.assign(DESCRIPTION, {
  tflite_sha256:
    "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81",
});

/** Head and tail. */
export class SmallRuntime implements Runtime {
  head = new Float32Array([0.5, -0.25]);
  tail = new Float32Array([0.75, 0.5]);
  #parked = this.tail;
  #rate = 0;

  /** @param before Called before each signature; it may throw. */
  constructor(private readonly before: (what: string) => void = () => {}) {}

  async load(): Promise<void> {}
  async close(): Promise<void> {}

  async run(signature: string, inputs: Tensors): Promise<Tensors> {
    this.before(signature);
    const of = (name: string) => (inputs[name] as Tensor).data as Float32Array;
    const tensor = (values: ArrayLike<number>, width = WIDTH): Tensor => ({
      data: Float32Array.from(values),
      shape: width ? [ROWS, width] : [],
    });
    switch (signature) {
      case "get_state":
        return {
          head: { data: this.head.slice(), shape: [WIDTH] },
          tail: { data: this.tail.slice(), shape: [WIDTH] },
        };
      case "set_state":
        this.head = of("head").slice();
        this.tail = of("tail").slice();
        return {};
      case "head_forward":
      case "head_infer":
        return {
          smashed_0_codes: tensor(
            of("x_0").map((v, i) => v * at(this.head, i)),
          ),
          penalty: tensor([0], 0),
        };
      case "head_backward": {
        const count = of("count")[0] ?? 0;
        const sent = of("smashed_grad_0_codes");
        of("x_0").forEach((value, i) => {
          if (i >= count * WIDTH) return;
          this.head[i % WIDTH] =
            at(this.head, i) - this.#rate * value * (sent[i] ?? 0);
        });
        this.tail = this.#parked;
        return { done: tensor([0], 0) };
      }
    }
    const codes = of("features_0_codes");
    const prediction = Float32Array.from({ length: ROWS }, (_, row) =>
      codes
        .subarray(row * WIDTH, (row + 1) * WIDTH)
        .reduce((sum, value, i) => sum + value * at(this.tail, i), 0),
    );
    if (signature === "tail_infer") {
      return { prediction_0: { data: prediction, shape: [ROWS] } };
    }
    const count = of("count")[0] ?? 0;
    const error = prediction.map((p, row) => p - (of("y_0")[row] ?? 0));
    const weight = of("sample_weight_0");
    const loss = error
      .subarray(0, count)
      .reduce((sum, e, row) => sum + (weight[row] ?? 0) * e * e, 0);
    if (signature === "tail_step") {
      this.#rate = of("learning_rate")[0] ?? 0;
      this.#parked = this.tail.slice();
      codes.subarray(0, count * WIDTH).forEach((value, i) => {
        this.#parked[i % WIDTH] =
          at(this.#parked, i) - this.#rate * value * at(error, i / WIDTH);
      });
    }
    return {
      loss: tensor([loss / count], 0),
      features_grad_0_codes: tensor(
        codes.map((_, i) => at(this.tail, i) * at(error, i / WIDTH)),
      ),
    };
  }
}

/** What outlives the death of a server. */
interface Kept {
  body: Float32Array;
  sessions: Map<string, { next: number; reply?: Envelope }>;
}

/** The body, in a server that takes each step once. */
export class SmallServer implements Transport {
  body = new Float32Array([1, 1]);
  sessions: Kept["sessions"] = new Map();
  /** Steps that were taken, by session. */
  readonly taken: string[] = [];
  readonly heard: string[] = [];
  keepsCheckpoints = false;
  /** A checkpoint is written behind so many steps; 0 for never. */
  every = 0;
  /** Refuses the next message for this reason. */
  refuse = "";
  notice = "";
  #kept: Kept = { body: this.body.slice(), sessions: new Map() };
  #durable = 0;
  #inputs: Float32Array<ArrayBufferLike> | undefined;
  #names = 0;

  /** @param before Called before each message, and before each reply. */
  constructor(public moments: (what: string) => void = () => {}) {}

  async exchange(envelope: Envelope): Promise<Envelope> {
    const kind = envelope.message.case ?? "";
    this.moments(`send ${kind}`);
    this.heard.push(kind);
    const reply = this.#answer(envelope);
    this.moments(`reply ${kind}`);
    return reply;
  }

  /** Ends without a last word, and comes back from its checkpoint. */
  die(): void {
    this.body = this.#kept.body.slice();
    this.sessions = structuredClone(this.#kept.sessions);
    this.#inputs = undefined;
  }

  checkpoint(): void {
    this.#kept = {
      body: this.body.slice(),
      sessions: structuredClone(this.sessions),
    };
    this.#durable = Math.max(
      0,
      ...[...this.sessions.values()].map((s) => s.next),
    );
  }

  #answer(envelope: Envelope): Envelope {
    const { message, payload } = envelope;
    if (this.refuse) {
      const reason = this.refuse;
      this.refuse = "";
      return refusal(reason);
    }
    const named = (message.value as { session?: string } | undefined)?.session;
    const session = this.sessions.get(named ?? "");
    if (message.case === "hello") {
      if (message.value.session && !session) return refusal("session");
      const name = message.value.session || `s${this.#names++}`;
      if (!session) this.sessions.set(name, { next: 0 });
      if (!session && this.keepsCheckpoints) this.checkpoint();
      return say(
        "welcome",
        create(WelcomeSchema, {
          session: name,
          nextStep: BigInt(session?.next ?? 0),
          keepsCheckpoints: this.keepsCheckpoints,
          durableSteps: BigInt(this.#durable),
          notice: this.notice,
        }),
      );
    }
    if (!session) return refusal("session");
    switch (message.case) {
      case "forward":
      case "infer": {
        const [tensor] = unpack(message.value.tensors, payload, raw);
        const codes = tensor?.codes as Float32Array;
        if (message.case === "forward") {
          if (Number(message.value.step) !== session.next) {
            return refusal("order");
          }
          this.#inputs = codes;
        }
        const made = codes.map((value, i) => value * at(this.body, i));
        const { described, payload: bytes } = pack([crossing("b", made)], raw);
        const value = create(FeaturesSchema, { tensors: described });
        return say("features", value, bytes);
      }
      case "backward": {
        const step = Number(message.value.step);
        if (step === session.next - 1 && session.reply) return session.reply;
        if (step !== session.next || !this.#inputs) return refusal("order");
        const [tensor] = unpack(message.value.tensors, payload, raw);
        const sent = tensor?.codes as Float32Array;
        const grad = sent.map((value, i) => value * at(this.body, i));
        const rate = message.value.learningRate ?? 0;
        this.#inputs.forEach((value, i) => {
          this.body[i % WIDTH] =
            at(this.body, i) - rate * value * (sent[i] ?? 0);
        });
        this.#inputs = undefined;
        session.next++;
        this.taken.push(`${named} ${step}`);
        const { described, payload: bytes } = pack([crossing("a", grad)], raw);
        const reply = create(SmashedGradSchema, {
          step: BigInt(step),
          tensors: described,
          moment: { run: "a".repeat(32), steps: BigInt(session.next) },
          durableSteps: BigInt(this.#durable),
        });
        session.reply = say("smashedGrad", reply, bytes);
        if (this.every && session.next % this.every === 0) this.checkpoint();
        return session.reply;
      }
      case "checkpoint":
        this.checkpoint();
        return say("done", create(DoneSchema));
      case "snapshot":
        return say("snapshotTaken", create(SnapshotTakenSchema, { tag: "t" }));
      case "goodbye":
        this.sessions.delete(named ?? "");
        return say("done", create(DoneSchema));
      default:
        return say("done", create(DoneSchema));
    }
  }
}

/** Batch `step` of a training: rows, labels and how many. */
export function batch(step: number): {
  x: Float32Array[];
  y: Float32Array[];
  count: number;
} {
  const count = step % 3 === 2 ? 2 : ROWS;
  return {
    x: [
      Float32Array.from({ length: count * WIDTH }, (_, i) =>
        Math.sin(7 * step + i),
      ),
    ],
    y: [Float32Array.from({ length: count }, (_, i) => Math.cos(step + i))],
    count,
  };
}

function at(values: Float32Array, i: number): number {
  return values[Math.floor(i) % values.length] ?? 0;
}

function crossing(name: string, codes: Float32Array): CutTensor {
  const shape = [codes.length / WIDTH, WIDTH];
  return { name, shape, codes, codesShape: shape };
}

function refusal(reason: string): Envelope {
  return say(
    "refusal",
    create(RefusalSchema, { reason, text: `no: ${reason}` }),
  );
}

function say(kind: string, value: unknown, payload?: Uint8Array): Envelope {
  return envelopeOf({ case: kind, value } as Message, payload);
}
