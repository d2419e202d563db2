/**
 * One array of an .npz: NumPy's format .npy, version 1.0
 * (numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
 */
import {
  bytesOf,
  dtypeOf,
  fromBytes,
  isDType,
  type Tensor,
  volume,
} from "./tensors.js";

/** What a file holds; one of the three. */
export interface Npy {
  readonly tensor?: Tensor;
  /** Of a whole number without axes. */
  readonly number?: number;
  /** Of a text without axes. */
  readonly text?: string;
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // "\x93NUMPY"
const DESCR = { float32: "<f4", int32: "<i4", uint8: "|u1" } as const;

/** An array of numbers. */
export function encodeArray({ data, shape }: Tensor): Uint8Array {
  return encode(DESCR[dtypeOf(data)], shape, bytesOf(data));
}

/** A whole number, int64. */
export function encodeNumber(value: number): Uint8Array {
  return encode("<i8", [], bytesOfBig(BigInt(value)));
}

/** A text; NumPy has four bytes for each character. */
export function encodeText(text: string): Uint8Array {
  const points = Int32Array.from(text, (c) => c.codePointAt(0) ?? 0);
  // NumPy has no texts of no characters: np.array("") is <U1 of a zero.
  const data = points.length ? points : new Int32Array(1);
  return encode(`<U${data.length}`, [], bytesOf(data));
}

/** @throws Error If it is no array of these kinds. */
export function readNpy(file: Uint8Array): Npy {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (!MAGIC.every((byte, i) => file[i] === byte)) throw new Error("no .npy");
  const long = view.getUint8(6) > 1; // version 2 and 3
  const begin = long ? 12 : 10;
  const end =
    begin + (long ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(file.subarray(begin, end));
  const descr = /'descr': *'([^']*)'/.exec(header)?.[1] ?? "";
  const axes = /'shape': *\(([^)]*)\)/.exec(header)?.[1];
  if (axes === undefined || /'fortran_order': *True/.test(header)) {
    throw new Error("an .npy of another order");
  }
  const shape = axes
    .split(",")
    .filter((a) => a.trim())
    .map(Number);
  const bytes = file.subarray(end);
  const width = /^<U\d+$/.test(descr)
    ? 4 * Number(descr.slice(2))
    : Number(descr.slice(2));
  if (bytes.length !== width * volume(shape)) {
    throw new Error(`${bytes.length} bytes of ${descr} (${axes})`);
  }
  if (descr === "<i8" && shape.length === 0) {
    return {
      number: Number(new DataView(bytes.slice().buffer).getBigInt64(0, true)),
    };
  }
  if (descr.startsWith("<U") && shape.length === 0) {
    const points = [...fromBytes("int32", bytes)];
    while (points.at(-1) === 0) points.pop();
    return { text: String.fromCodePoint(...points) };
  }
  const dtype = Object.entries(DESCR).find(([, d]) => d === descr)?.[0] ?? "";
  if (!isDType(dtype)) return {};
  return { tensor: { data: fromBytes(dtype, bytes), shape } };
}

function encode(
  descr: string,
  shape: readonly number[],
  data: Uint8Array,
): Uint8Array {
  const axes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const head = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${axes}), }`;
  // What comes before the data has a multiple of 64 bytes, and ends a line.
  const length = Math.ceil((10 + head.length + 1) / 64) * 64 - 10;
  const file = new Uint8Array(10 + length + data.length);
  file.set(MAGIC);
  file[6] = 1;
  new DataView(file.buffer).setUint16(8, length, true);
  file.set(new TextEncoder().encode(`${head.padEnd(length - 1)}\n`), 10);
  file.set(data, 10 + length);
  return file;
}

function bytesOfBig(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, value, true);
  return bytes;
}
