/**
 * Rows of a batch that is not full.
 *
 * A file has one batch size, so a batch with fewer examples is filled up on
 * the phone with copies of its first row, and these never travel.
 */
import type { Rule, SharedSpec, TensorSpec } from "./description.js";
import { ProtocolError } from "./errors.js";
import {
  type CutTensor,
  dtypeOf,
  sameShape,
  type Tensor,
  type Tensors,
  volume,
  zeros,
} from "./tensors.js";

/** Repeats the first row until there are `size`. */
export function fill(rows: Tensor, size: number): Tensor {
  const [count = 0, ...rest] = rows.shape;
  if (count === size) return rows;
  const width = volume(rest);
  const data = zeros(dtypeOf(rows.data), size * width);
  data.set(rows.data);
  const first = rows.data.subarray(0, width);
  for (let row = count; row < size; row++) data.set(first, row * width);
  return { data, shape: [size, ...rest] };
}

/** The first rows alone; no copy. */
export function cut(rows: Tensor, count: number): Tensor {
  const [size = 0, ...rest] = rows.shape;
  if (size === count) return rows;
  return {
    data: rows.data.subarray(0, count * volume(rest)),
    shape: [count, ...rest],
  };
}

/** Tensors of one kind between a signature and a message. */
export class RowPadder {
  /**
   * @param kind What the signatures call them: `"smashed"` names
   *   `smashed_0_codes`, `smashed_0_scales`, ...
   * @param specs The tensors, in order.
   * @param rule How they are quantized.
   * @param inFile The tensors of the signatures that have them, by name.
   * @param shared Inputs of the model that leave behind them, which the
   *   signatures call `shared_0_codes`, ...
   */
  constructor(
    private readonly kind: string,
    private readonly specs: readonly TensorSpec[],
    private readonly rule: Rule,
    private readonly inFile: ReadonlyMap<
      string,
      { shape: readonly number[]; dtype: string }
    >,
    private readonly shared: readonly SharedSpec[] = [],
  ) {}

  /**
   * What a signature made, as tensors of `count` rows for a message.
   *
   * @throws ProtocolError With reason `"not-finite"`.
   */
  leave(made: Tensors, count: number): CutTensor[] {
    const tensors = this.specs.map((spec, i) => {
      const codes = cut(required(made, `${this.kind}_${i}_codes`), count);
      const scales = made[`${this.kind}_${i}_scales`];
      const tensor: CutTensor = {
        name: spec.name,
        shape: [count, ...spec.shape],
        codes: codes.data,
        codesShape: codes.shape,
        ...(scales && {
          scales: (this.byRow ? cut(scales, count) : scales)
            .data as Float32Array,
        }),
      };
      this.checkFinite(tensor);
      return tensor;
    });
    const inputs = this.shared.map((spec, i) => {
      const codes = cut(required(made, `shared_${i}_codes`), count);
      if (codes.data instanceof Float32Array && !allFinite(codes.data)) {
        throw notFinite(spec.name);
      }
      return {
        name: spec.name,
        shape: [count, ...spec.shape],
        codes: codes.data,
        codesShape: codes.shape,
      };
    });
    return [...tensors, ...inputs];
  }

  /**
   * Tensors of a message, filled up and named for a signature.
   *
   * @throws ProtocolError If they are not what the contract says.
   */
  arrive(tensors: readonly CutTensor[], count: number): Tensors {
    const names = this.specs.map((spec) => spec.name);
    if (names.join() !== tensors.map((tensor) => tensor.name).join()) {
      throw new ProtocolError(
        `Expected tensors ${JSON.stringify(names)}. Received: ` +
          `${JSON.stringify(tensors.map((tensor) => tensor.name))}. ` +
          "Install the same keras_split on the phone and on the server.",
        "shape",
      );
    }
    const known: Tensors = {};
    tensors.forEach((tensor, i) => {
      const name = `${this.kind}_${i}`;
      const codes = this.inFile.get(`${name}_codes`);
      const scales = this.inFile.get(`${name}_scales`);
      const size = codes?.shape[0] ?? 0;
      const width = codes?.shape[1] ?? 0;
      const rows = scales ? (this.byRow ? count : (scales.shape[0] ?? 0)) : 0;
      if (
        !sameShape(tensor.shape, [count, ...(this.specs[i]?.shape ?? [])]) ||
        !sameShape(tensor.codesShape, [count, width]) ||
        dtypeOf(tensor.codes) !== codes?.dtype ||
        (tensor.scales?.length ?? 0) !== 2 * rows
      ) {
        throw new ProtocolError(
          `Expected ${tensor.name} of ${count} examples as ${codes?.dtype} ` +
            `codes (${count}, ${width}) with ${rows} rows of scales. ` +
            `Received: shape (${tensor.shape}), ${dtypeOf(tensor.codes)} ` +
            `codes (${tensor.codesShape}) with ` +
            `${(tensor.scales?.length ?? 0) / 2} rows. Install the same ` +
            "keras_split on the phone and on the server.",
          "shape",
        );
      }
      this.checkFinite(tensor);
      known[`${name}_codes`] = fill(
        { data: tensor.codes, shape: tensor.codesShape },
        size,
      );
      if (scales && tensor.scales) {
        const given = { data: tensor.scales, shape: [rows, 2] };
        known[`${name}_scales`] = this.byRow ? fill(given, size) : given;
      }
    });
    return known;
  }

  private get byRow(): boolean {
    return this.rule.granularity === "example";
  }

  private checkFinite(tensor: CutTensor): void {
    if (
      !allFinite(tensor.scales) ||
      (tensor.codes instanceof Float32Array && !allFinite(tensor.codes)) ||
      (this.rule.dtype === "float8_e4m3" && hasNan8(tensor, this.rule))
    ) {
      throw notFinite(tensor.name);
    }
  }
}

/** The error of a step that must not be taken. */
export function notFinite(what: string): ProtocolError {
  return new ProtocolError(
    `Expected a finite ${what}. Received: NaN or infinity. The step was not ` +
      "taken; lower the learning rate, or look for a broken batch.",
    "not-finite",
  );
}

function allFinite(data: Float32Array | undefined): boolean {
  return data === undefined || data.every(Number.isFinite);
}

/**
 * Whether a code of float8 e4m3 is its NaN. Positions of blocks stand before
 * the codes of a row, and may be anything.
 */
function hasNan8(tensor: CutTensor, rule: Rule): boolean {
  const [count = 0, width = 0] = tensor.codesShape;
  const codes = Math.ceil(volume(tensor.shape) / count / (rule.block || 1));
  return tensor.codes.some(
    (code, i) => i % width >= width - codes && (code & 0x7f) === 0x7f,
  );
}

function required(tensors: Tensors, name: string): Tensor {
  const tensor = tensors[name];
  if (tensor === undefined) {
    throw new ProtocolError(
      `Expected ${name} of the .tflite. Received: none. Use the client.json ` +
        "that was exported with it.",
      "shape",
    );
  }
  return tensor;
}
