/** What client.json says about the .tflite beside it. */
import { DataError } from "./errors.js";
import { isDType, type TypedArray } from "./tensors.js";

/** Name and shape of a tensor that crosses the cut, without the batch axis. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

/** An input of the model that the server gets, because its owner said so. */
export interface SharedSpec extends TensorSpec {
  readonly dtype: string;
  /** `"bits"`, or the numbers in which it travels. */
  readonly packing: string;
}

/** How tensors that cross the cut are quantized. */
export interface Rule {
  readonly dtype: string;
  readonly granularity: string;
  readonly rounding: string;
  readonly block?: number;
  readonly known?: boolean;
}

/** One tensor of a signature, or of the state. */
export interface TensorDescription extends TensorSpec {
  readonly dtype: string;
}

/** One input of the model, without the batch axis. */
export interface InputDescription extends TensorDescription {
  readonly half: "head" | "tail" | "both";
}

/** One output of the model, and what it is compared with. */
export interface OutputDescription extends TensorDescription {
  readonly loss?: string | null;
  readonly label?: {
    readonly shape: readonly number[];
    readonly dtype: string;
  } | null;
  readonly accuracy?: boolean;
  /** True if the loss takes predictions for logits; else not there. */
  readonly from_logits?: boolean;
}

/** One tensor of the phone's state. */
export interface StateDescription extends TensorDescription {
  readonly variable: string;
  readonly kind: "weight" | "statistic" | "slot";
}

/** One function of the .tflite. */
export interface SignatureDescription {
  readonly inputs: readonly TensorDescription[];
  readonly outputs: readonly TensorDescription[];
}

/** A client.json, as `keras_split/litert/client.schema.json` has it. */
export interface ClientDescription {
  readonly format: number;
  readonly protocol: number;
  readonly keras_split?: string;
  readonly mode: "train" | "infer";
  readonly precision: string;
  readonly batch_size: number;
  readonly contract: {
    readonly fingerprint: string;
    readonly cut: readonly string[];
    readonly smashed: readonly TensorSpec[];
    readonly features: readonly TensorSpec[];
    readonly quantization: {
      readonly activations: Rule;
      readonly gradients: Rule;
    };
    readonly codec: string;
    readonly labels_on_server: boolean;
    readonly shared?: readonly SharedSpec[];
  };
  /** A `Hello` as proto JSON. */
  readonly hello: Record<string, unknown>;
  readonly moment?: { readonly run: string; readonly steps: number } | null;
  readonly inputs: readonly InputDescription[];
  readonly outputs: readonly OutputDescription[];
  readonly optimizer: {
    readonly name: string;
    readonly learning_rate: number;
    readonly config: string;
  } | null;
  readonly preprocess: {
    readonly matrix: readonly (readonly number[])[];
    readonly offset: readonly number[];
  } | null;
  readonly class_names?: readonly string[];
  readonly state: readonly StateDescription[] | null;
  readonly frozen: string | null;
  readonly frozen_head?: boolean;
  readonly signatures: Readonly<Record<string, SignatureDescription>>;
  readonly tflite_sha256: string;
}

const ADVICE =
  "Export the model again with client.export('client.tflite'), and serve " +
  "both files, client.tflite and client.json.";
const INFER = ["head_infer", "tail_infer"];
const TRAIN = [
  ...INFER,
  "head_forward",
  "tail_step",
  "head_backward",
  "tail_evaluate",
  "get_state",
  "set_state",
];

/**
 * Checks that a client.json is one that this package can follow.
 *
 * @param description What was parsed of the file.
 * @throws DataError If it is of another version, damaged, or of a file whose
 *   tensors LiteRT.js does not take.
 */
export function checkDescription(description: ClientDescription): void {
  const { format, protocol } = description;
  if (format !== 1 || protocol !== 1) {
    throw new DataError(
      "Expected a client.json of format 1 and protocol 1. Received: format " +
        `${format} and protocol ${protocol}. Use the keras-split-client of ` +
        `the keras_split that exported it (${description.keras_split}).`,
    );
  }
  const missing = (description.mode === "train" ? TRAIN : INFER).filter(
    (name) => !description.signatures?.[name],
  );
  if (
    missing.length ||
    !description.contract?.quantization ||
    !(description.batch_size >= 1)
  ) {
    throw new DataError(
      "Expected a client.json as client.export wrote it. Received: one " +
        `without ${missing.join(", ") || "a contract or a batch size"}. ` +
        ADVICE,
    );
  }
  for (const [name, signature] of Object.entries(description.signatures)) {
    for (const tensor of [...signature.inputs, ...signature.outputs]) {
      if (!isDType(tensor.dtype)) {
        throw new DataError(
          "Expected a file whose tensors are float32, int32 or uint8, which " +
            `is all that LiteRT.js takes. Received: ${tensor.name} of ` +
            `${name} as ${tensor.dtype}. Export it with another ` +
            "quantization, such as int8, on both sides.",
        );
      }
    }
  }
}

/**
 * Checks that the .tflite is the one that client.json describes.
 *
 * @throws DataError If the two do not belong together.
 */
export async function checkModel(
  model: Uint8Array<ArrayBuffer>,
  description: ClientDescription,
): Promise<void> {
  const digest = hex(await crypto.subtle.digest("SHA-256", model));
  if (digest !== description.tflite_sha256) {
    throw new DataError(
      "Expected the .tflite that client.json describes, sha256 " +
        `${description.tflite_sha256.slice(0, 12)}. Received: a file of ` +
        `sha256 ${digest.slice(0, 12)}: the two come from different exports, ` +
        `or one is damaged. ${ADVICE}`,
    );
  }
}

/** Name of what belongs to one server, model and layout of the state. */
export async function storeName(
  description: ClientDescription,
  baseUrl: string,
): Promise<string> {
  const { contract, frozen, state } = description;
  const text = JSON.stringify([
    new URL(baseUrl).href,
    contract.fingerprint,
    frozen,
    (state ?? []).map((tensor) => [tensor.name, tensor.dtype, tensor.shape]),
  ]);
  const bytes = new TextEncoder().encode(text);
  return hex(await crypto.subtle.digest("SHA-256", bytes)).slice(0, 32);
}

/** Checks that a state has the tensors that the file has. */
export function checkState(
  state: ReadonlyMap<string, { data: TypedArray; shape: readonly number[] }>,
  description: ClientDescription,
  dtypeOf: (data: TypedArray) => string,
): void {
  const line = (dtype: string, shape: readonly number[]) =>
    `${dtype} (${shape})`;
  const expected = new Map(
    (description.state ?? []).map((t) => [t.name, line(t.dtype, t.shape)]),
  );
  const received = new Map(
    [...state].map(([n, t]) => [n, line(dtypeOf(t.data), t.shape)]),
  );
  for (const name of new Set([...expected.keys(), ...received.keys()])) {
    const [wanted, given] = [expected.get(name), received.get(name)];
    if (wanted !== given) {
      throw new DataError(
        `Expected a state of this model, with ${name} as ${wanted ?? "none"}. ` +
          `Received: ${given ?? "none"}. Nothing was changed; use the ` +
          "client.tflite with which the state was saved.",
      );
    }
  }
}

function hex(digest: ArrayBuffer): string {
  return Array.from(new Uint8Array(digest), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
