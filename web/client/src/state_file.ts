/** The phone's half as one .npz, the same that `keras_split.device` writes. */
import { unzipSync, zipSync } from "fflate";
import { type ClientDescription, checkState } from "./description.js";
import { DataError, said } from "./errors.js";
import type { Moment } from "./journal.js";
import {
  encodeArray,
  encodeNumber,
  encodeText,
  type Npy,
  readNpy,
} from "./npy.js";
import { dtypeOf, type Tensor } from "./tensors.js";

/** Everything that a training continues from. */
export interface State {
  readonly arrays: ReadonlyMap<string, Tensor>;
  /** Number of the next optimizer step. */
  readonly step: number;
  /** The server's snapshot of the body at that step; empty without one. */
  readonly tag: string;
  readonly moment: Moment;
}

const PREFIX = "state.";
const FORMAT = 1; // a file that says none has this one

/** The bytes of a file. */
export function writeState(
  state: State,
  description: ClientDescription,
): Uint8Array<ArrayBuffer> {
  const files: Record<string, Uint8Array> = {
    fingerprint: encodeText(description.contract.fingerprint),
    frozen: encodeText(description.frozen ?? ""),
    step: encodeNumber(state.step),
    tag: encodeText(state.tag),
    run: encodeText(state.moment.run),
    run_steps: encodeNumber(state.moment.steps),
  };
  for (const [name, tensor] of state.arrays) {
    files[PREFIX + name] = encodeArray(tensor);
  }
  const named = Object.entries(files).map(([name, bytes]) => [
    `${name}.npy`,
    bytes,
  ]);
  // Stored as NumPy's savez does: weights do not get smaller.
  return zipSync(Object.fromEntries(named), { level: 0 });
}

/**
 * Reads a file, and checks that it belongs to this model.
 *
 * @throws DataError If it is damaged, or of another model.
 */
export function readState(
  file: Uint8Array,
  description: ClientDescription,
): State {
  let content: Map<string, Npy>;
  let state: State;
  const texts = { fingerprint: "", frozen: "" };
  try {
    content = new Map(
      Object.entries(unzipSync(file)).map(([name, bytes]) => [
        name.replace(/\.npy$/, ""),
        readNpy(bytes),
      ]),
    );
    const number = (name: string, other?: number): number => {
      const value = content.get(name)?.number ?? other;
      if (value === undefined) throw new Error(`it has no ${name}`);
      return value;
    };
    const text = (name: string, other?: string): string => {
      const value = content.get(name)?.text ?? other;
      if (value === undefined) throw new Error(`it has no ${name}`);
      return value;
    };
    const form = number("format", FORMAT);
    if (form > FORMAT) throw new Error(`a newer keras_split wrote it: ${form}`);
    texts.fingerprint = text("fingerprint");
    texts.frozen = text("frozen");
    const arrays = new Map<string, Tensor>();
    for (const [name, { tensor }] of content) {
      if (!name.startsWith(PREFIX)) continue; // another version added it
      if (!tensor) throw new Error(`${name} is no array of float32 or int32`);
      arrays.set(name.slice(PREFIX.length), tensor);
    }
    state = {
      arrays,
      step: number("step"),
      tag: text("tag"),
      moment: { run: text("run", ""), steps: number("run_steps", 0) },
    };
    if (!(state.step >= 0 && state.step < 2 ** 31)) {
      throw new Error(`its step is ${state.step}`);
    }
  } catch (error) {
    throw new DataError(
      "Expected a state that save wrote, or save_state of keras_split.device. " +
        `Received: ${file.length} bytes that cannot be read (${said(error)}). ` +
        "Nothing was changed; use an older copy of the file.",
      { cause: error },
    );
  }
  const { contract, frozen } = description;
  compare("a model of fingerprint", contract.fingerprint, texts.fingerprint);
  compare("frozen weights of hash", frozen ?? "", texts.frozen);
  checkState(state.arrays, description, dtypeOf);
  return state;
}

function compare(what: string, expected: string, received: string): void {
  if (expected !== received) {
    throw new DataError(
      `Expected a state of this model, with ${what} ` +
        `${expected.slice(0, 12)}. Received: ${received.slice(0, 12)}. ` +
        "Nothing was changed; use the client.tflite with which the state " +
        "was saved.",
    );
  }
}
