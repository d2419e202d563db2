/** Numbers with a shape, as signatures take them and as they cross the cut. */

/** The three kinds of numbers that LiteRT.js takes. */
export type TypedArray = Float32Array | Int32Array | Uint8Array;
export type DType = "float32" | "int32" | "uint8";

/** One tensor of a signature. */
export interface Tensor {
  readonly data: TypedArray;
  readonly shape: readonly number[];
}

/** Tensors by the names that the signatures use, such as `x_0`. */
export type Tensors = Record<string, Tensor>;

/** What crosses the cut, quantized: one tensor of a message. */
export interface CutTensor {
  readonly name: string;
  /** With the batch axis, before quantization: `(count, ...)`. */
  readonly shape: readonly number[];
  /** Shape `codesShape`. */
  readonly codes: TypedArray;
  /** `(count, n)`. */
  readonly codesShape: readonly number[];
  /** Pairs of scale and zero point, flat; none for floats. */
  readonly scales?: Float32Array;
}

const CLASSES = {
  float32: Float32Array,
  int32: Int32Array,
  uint8: Uint8Array,
} as const;

/** Whether LiteRT.js has tensors of this kind. */
export function isDType(name: string): name is DType {
  return name in CLASSES;
}

/** NumPy's name of an array's kind of numbers. */
export function dtypeOf(data: TypedArray): DType {
  if (data instanceof Float32Array) return "float32";
  return data instanceof Int32Array ? "int32" : "uint8";
}

/** An array of zeros. */
export function zeros(dtype: DType, length: number): TypedArray {
  return new CLASSES[dtype](length);
}

/** Numbers from little-endian bytes; a copy, so that it is aligned. */
export function fromBytes(dtype: DType, bytes: Uint8Array): TypedArray {
  return new CLASSES[dtype](bytes.slice().buffer);
}

/** The bytes of an array; no copy. */
export function bytesOf(data: TypedArray): Uint8Array<ArrayBuffer> {
  return new Uint8Array(
    data.buffer as ArrayBuffer,
    data.byteOffset,
    data.byteLength,
  );
}

/** How many numbers a shape holds. */
export function volume(shape: readonly number[]): number {
  return shape.reduce((product, axis) => product * axis, 1);
}

/** One number as a tensor without axes. */
export function scalar(dtype: DType, value: number): Tensor {
  const data = zeros(dtype, 1);
  data[0] = value;
  return { data, shape: [] };
}

/** Whether two shapes are the same. */
export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((axis, i) => axis === b[i]);
}
