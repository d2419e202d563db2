/** Which numbers of head and tail the phones of a cohort average, in order. */
import type { ClientDescription, StateDescription } from "../description.js";
import { DataError } from "../errors.js";
import { type TypedArray, volume } from "../tensors.js";
import { ascii, hex, sha256 } from "./bytes.js";
import { OptionError } from "./errors.js";

/** Whether batch normalization is averaged, or stays each phone's own. */
export type Batchnorm = "average" | "local";

/**
 * The order of a half's numbers in one vector: that of the state in
 * client.json, without the optimizer's slots. A Keras client of the same model
 * has the same.
 */
export class HalfLayout {
  private constructor(
    private readonly kept: readonly StateDescription[],
    /** SHA-256 of what the numbers are, as hexadecimal digits. */
    readonly digest: string,
  ) {}

  /**
   * The layout of a file.
   *
   * @param description Its client.json.
   * @param batchnorm `local` to leave layers of batch normalization out whole:
   *   weights and statistics.
   * @throws OptionError If nothing that is left is trained.
   */
  static async of(
    description: ClientDescription,
    batchnorm: Batchnorm,
  ): Promise<HalfLayout> {
    const { state, frozen } = description;
    const tensors = (state ?? []).filter((t) => t.kind !== "slot");
    const own = new Set(
      batchnorm === "local"
        ? tensors.filter((t) => t.kind === "statistic").map(layerOf)
        : [],
    );
    const kept = tensors.filter((t) => !own.has(layerOf(t)));
    if (!kept.some((t) => t.kind === "weight")) {
      throw new OptionError(
        "Expected weights in head or tail, for the phones to have in common. " +
          `Received: none that are trained${
            own.size ? " beside batch normalization" : ""
          }. Thaw some, or train without averaging.`,
      );
    }
    const described = kept.map((t) => [partOf(t), t.kind, t.shape]);
    const text = json([described, batchnorm, frozen ?? ""]);
    return new HalfLayout(kept, hex(await sha256(ascii(text))));
  }

  /** Numbers in the vector. */
  get size(): number {
    return this.kept.reduce((sum, t) => sum + volume(t.shape), 0);
  }

  /** Whether some of them are statistics of a batch normalization. */
  get statistics(): boolean {
    return this.kept.some((t) => t.kind === "statistic");
  }

  /** The vector of a state, shape `(size,)`; a copy. */
  join(state: ReadonlyMap<string, TypedArray>): Float32Array<ArrayBuffer> {
    const vector = new Float32Array(this.size);
    let at = 0;
    for (const { name } of this.kept) {
      const numbers = numbersOf(state, name);
      vector.set(numbers, at);
      at += numbers.length;
    }
    return vector;
  }

  /** The state with the numbers of a vector; what is not in it stays. */
  split(
    vector: Float32Array,
    state: ReadonlyMap<string, TypedArray>,
  ): Map<string, TypedArray> {
    const made = new Map(state);
    let at = 0;
    for (const { name } of this.kept) {
      const numbers = numbersOf(state, name).slice();
      numbers.set(vector.subarray(at, at + numbers.length));
      made.set(name, numbers);
      at += numbers.length;
    }
    return made;
  }
}

/** Head or tail: names begin with it. */
function partOf(tensor: StateDescription): string {
  return tensor.name.split("_", 1)[0] as string;
}

/** Which layer a tensor belongs to: its variable up to the last slash. */
function layerOf(tensor: StateDescription): string {
  const { variable } = tensor;
  const layer = variable.slice(0, Math.max(0, variable.lastIndexOf("/")));
  return `${partOf(tensor)}/${layer}`;
}

/** What Python's `json.dumps` makes of texts, numbers and lists. */
function json(value: unknown): string {
  return Array.isArray(value)
    ? `[${value.map(json).join(", ")}]`
    : JSON.stringify(value);
}

function numbersOf(
  state: ReadonlyMap<string, TypedArray>,
  name: string,
): TypedArray {
  const numbers = state.get(name);
  if (numbers) return numbers;
  throw new DataError(
    `Expected ${name} in the state of the phone. Received: none. Use the ` +
      "client.json that was exported with the .tflite.",
  );
}
