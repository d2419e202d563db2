/** One batch as the .tflite wants it: checked, named, filled up. */
import type { ClientDescription, SharedSpec } from "./description.js";
import { DataError } from "./errors.js";
import { fill } from "./rows.js";
import {
  dtypeOf,
  scalar,
  type Tensors,
  type TypedArray,
  volume,
} from "./tensors.js";

/** What a step is made of. */
export interface Batch {
  /** How many examples there are; behind them the rows repeat the first. */
  readonly count: number;
  /** `x_0`, ..., and for training `y_0`, `sample_weight_0`, ..., `count`. */
  readonly tensors: Tensors;
}

/** Labels, one array an output, and what each example counts. */
export interface Labels {
  readonly y: readonly TypedArray[];
  readonly sampleWeight?: Float32Array | undefined;
}

/**
 * Makes a batch.
 *
 * @param x One array an input, row after row of `count` examples.
 * @param labels None to predict.
 * @throws DataError If an array is missing or does not fit.
 */
export function batchOf(
  description: ClientDescription,
  x: readonly TypedArray[],
  count: number,
  labels?: Labels,
): Batch {
  const { batch_size: size, contract, inputs, outputs } = description;
  if (!Number.isInteger(count) || count < 1 || count > size) {
    throw new DataError(
      `Expected a batch of 1 to ${size} examples, for which this .tflite was ` +
        `exported. Received: ${count}. Cut the data into such batches, or ` +
        "export with another batch_size.",
    );
  }
  const tensors: Tensors = { count: scalar("int32", count) };
  const put = (
    name: string,
    data: TypedArray | undefined,
    dtype: string,
    shape: readonly number[],
    what: string,
  ) => {
    const wanted = count * volume(shape);
    if (!data || dtypeOf(data) !== dtype || data.length !== wanted) {
      const came = data ? `${data.length} of ${dtypeOf(data)}` : "none";
      throw new DataError(
        `Expected ${what} as ${wanted} numbers of ${dtype}: ${count} rows of ` +
          `shape (${shape}). Received: ${came}. Look at how the batch is made.`,
      );
    }
    tensors[name] = fill({ data, shape: [count, ...shape] }, size);
  };
  checkNumber(x, inputs, "inputs");
  inputs.forEach((input, i) => {
    put(`x_${i}`, x[i], input.dtype, input.shape, `input ${input.name}`);
    const shared = contract.shared?.find(({ name }) => name === input.name);
    if (shared) checkPacking(x[i] as TypedArray, shared);
  });
  if (labels) {
    const weight = labels.sampleWeight ?? new Float32Array(count).fill(1);
    checkNumber(labels.y, outputs, "outputs");
    outputs.forEach((output, i) => {
      const { label, name, shape } = output;
      const y = labels.y[i];
      if (!label) throw trainsNot();
      put(`y_${i}`, y, label.dtype, label.shape, `labels of ${name}`);
      if (y instanceof Int32Array) checkClasses(y, name, shape.at(-1) ?? 0);
      put(`sample_weight_${i}`, weight, "float32", [], "sample weights");
    });
  }
  return { count, tensors };
}

/** The error of a file that only predicts. */
export function trainsNot(): DataError {
  return new DataError(
    "Expected a .tflite that trains. Received: one for inference. Only infer " +
      "works with it; export the other with client.export('client.tflite').",
  );
}

function checkNumber(
  arrays: readonly unknown[],
  specs: readonly { name: string }[],
  what: string,
): void {
  if (arrays.length !== specs.length) {
    throw new DataError(
      `Expected one array for each of the ${what} ` +
        `${specs.map((spec) => spec.name).join(", ")}. Received: ` +
        `${arrays.length}.`,
    );
  }
}

// Packings that do not hold all numbers of an array of ours.
const RANGES: Record<string, readonly [number, number]> = {
  bits: [0, 1],
  int8: [-128, 127],
  uint8: [0, 255],
};

/** Refuses numbers that would cross as others. */
function checkPacking(data: TypedArray, shared: SharedSpec): void {
  const { name, dtype, packing } = shared;
  const range = packing === dtype ? undefined : RANGES[packing];
  if (!range) return;
  const [least, largest] = range;
  const wrong = data.find((value) => value < least || value > largest);
  if (wrong !== undefined) {
    throw new DataError(
      `Expected numbers from ${least} to ${largest} in the input ${name}, ` +
        `which is shared as ${packing}. Received: ${wrong}. Look at the ` +
        `data, or cut with share={"${name}": "${dtype}"}.`,
    );
  }
}

function checkClasses(y: Int32Array, name: string, classes: number): void {
  const wrong = y.find((label) => label < 0 || label >= classes);
  if (wrong !== undefined) {
    throw new DataError(
      `Expected labels from 0 to ${classes - 1} for output ${name}. ` +
        `Received: ${wrong}. Look at the labels, or export a model with more ` +
        "classes.",
    );
  }
}
