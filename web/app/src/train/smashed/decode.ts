import type { CutTensor, Numbers } from "../phone/types";

const BITS: Record<string, number> = { int8: 8, int4: 4, int2: 2 };

/**
 * The numbers of one example in a tensor that crossed, up to scale.
 *
 * LiteRT.js has float32, int32 and uint8 tensors alone, so there are no rules
 * of 16 bits here.
 *
 * For a picture the codes will do: each is a straight line of the value that
 * it stands for, the same for all values of an example.
 *
 * @param tensor As it was sent.
 * @param rule Name of the dtype on the link, as client.json has it.
 * @param example Its row.
 * @returns As many numbers as the example has, or null if `rule` is not known
 *   here or sends only some of them.
 */
export function decode(
  tensor: CutTensor,
  rule: string,
  example: number,
): Float32Array | null {
  const [count = 0, ...shape] = tensor.shape;
  if (example >= count) return null;
  const size = shape.reduce((product, side) => product * side, 1);
  const width = tensor.codes.length / count;
  const codes = tensor.codes.slice(example * width, (example + 1) * width);
  const values = valuesOf(codes, rule, size);
  return values && values.length === size ? values : null;
}

function valuesOf(
  codes: Numbers,
  rule: string,
  size: number,
): Float32Array | null {
  const bits = BITS[rule];
  if (bits) return unpack(codes, bits, size);
  switch (rule) {
    case "float32":
      return Float32Array.from(codes);
    case "float8_e4m3":
      return Float32Array.from(codes, float8);
    default:
      return null;
  }
}

/** First code in the low bits. */
function unpack(codes: Numbers, bits: number, size: number): Float32Array {
  const perByte = 8 / bits;
  const values = new Float32Array(Math.min(size, codes.length * perByte));
  for (let at = 0; at < values.length; at += 1) {
    const byte = codes[Math.floor(at / perByte)] ?? 0;
    values[at] = (byte >> (bits * (at % perByte))) & (2 ** bits - 1);
  }
  return values;
}

/** Sign, four bits of exponent, three of fraction. */
function float8(code: number): number {
  const exponent = (code >> 3) & 0xf;
  const fraction = (code & 0x7) / 8;
  const size = exponent
    ? (1 + fraction) * 2 ** (exponent - 7)
    : fraction * 2 ** -6;
  return code & 0x80 ? -size : size;
}
