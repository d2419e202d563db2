/**
 * Weighted vectors as integers, which add up modulo 2^32 or 2^64; those of
 * keras_split/aggregation/fixed_point.py, number for number.
 */
import { OptionError, QuantizationError } from "./errors.js";

/** Bits of a number under masks. */
export type Bits = 32 | 64;

// By bits: log2 of the greatest number of a vector, and of the greatest weight
// of a phone, its examples.
const RANGES = { 32: 4, 64: 20 };
const WEIGHTS = { 32: 20, 64: 30 };
const WHOLE = 2 ** 52; // from here on a float64 has no fraction
const WORD = 2 ** 32;

/**
 * Bits that a server may ask for.
 *
 * @throws OptionError If they are neither 32 nor 64.
 */
export function bitsOf(bits: number): Bits {
  if (bits === 32 || bits === 64) return bits;
  throw new OptionError(
    `Expected masks of 32 or 64 bits. Received: ${bits}. Install the same ` +
      "keras_split on the phone and on the server.",
  );
}

/**
 * The least `e >= 0` with `weight <= 2**e`: all that others are told of a
 * phone's weight.
 *
 * @throws QuantizationError If a weight of so many bits cannot be that.
 */
export function exponent(weight: number, bits: Bits): number {
  const most = WEIGHTS[bits];
  if (!(weight >= 0 && weight <= 2 ** most)) {
    throw new QuantizationError(
      `Expected a weight from 0 to 2^${most}, examples of one phone, with ` +
        `masks of ${bits} bits. Received: ${weight}.`,
    );
  }
  let power = 0;
  while (weight > 2 ** power) power++;
  return power;
}

/** Whether it can be that of a weight. */
export function isExponent(value: number, bits: Bits): boolean {
  return value >= 0 && value <= WEIGHTS[bits];
}

/**
 * Refuses numbers that masks of so many bits have no room for.
 *
 * @throws QuantizationError If one is not finite, or too great.
 */
export function checkRange(vector: Float32Array, bits: Bits): void {
  const limit = 2 ** RANGES[bits];
  const wrong = vector.find((x) => !(x >= -limit && x <= limit));
  if (wrong === undefined) return;
  const wider = bits < 64 ? ", or serve with masks of 64 bits" : "";
  const most = limit.toLocaleString("en");
  throw new QuantizationError(
    `Expected numbers from -${most} to ${most} under masks of ${bits} bits. ` +
      `Received: ${wrong}. Lower the learning rate${wider}.`,
  );
}

/**
 * How all phones of a round write their numbers.
 *
 * A number `x` of a phone with weight `w` becomes `round(w * x * 2**f)`. The
 * weight comes as one number more, `x = 1`. What fits for each phone fits for
 * their sum, so it never wraps.
 */
export class FixedPoint {
  /**
   * @param bits Integers are added modulo 2^bits.
   * @param fraction `f`, binary digits behind the point.
   */
  constructor(
    readonly bits: Bits,
    readonly fraction: number,
  ) {}

  /**
   * The finest that holds the sum of some phones.
   *
   * @param bits 32 or 64.
   * @param exponents Of the weight of each.
   * @throws QuantizationError If they leave no room.
   */
  static of(bits: Bits, exponents: Iterable<number>): FixedPoint {
    let whole = 0;
    for (const power of exponents) whole += 2 ** power;
    let digits = 0;
    while (2 ** digits < whole) digits++;
    // One bit for the sign, and one for what is rounded up.
    const room = bits - 2 - RANGES[bits];
    if (digits > room) {
      throw new QuantizationError(
        `Expected phones with ${(2 ** room).toLocaleString("en")} examples ` +
          `together at most, under masks of ${bits} bits. Received: ` +
          `${whole.toLocaleString("en")}. Serve with masks of 64 bits, or ` +
          "with fewer phones a round.",
      );
    }
    return new FixedPoint(bits, room - digits);
  }

  /**
   * The integers of one phone.
   *
   * @param vector Shape `(size,)`.
   * @param weight Its examples, within the exponent that it told.
   * @returns `size + 1` numbers in two's complement, the last the weight's:
   *   a word of 32 bits each, or two, the lower first.
   * @throws QuantizationError If a number does not fit.
   */
  encode(vector: Float32Array, weight: number): Uint32Array<ArrayBuffer> {
    checkRange(vector, this.bits);
    const wide = this.bits / 32;
    const words = new Uint32Array(wide * (vector.length + 1));
    const unit = 2 ** this.fraction;
    for (let i = 0; i <= vector.length; i++) {
      // A float32 times a whole number below 2^29 is exact in float64.
      const x = i < vector.length ? (vector[i] as number) : 1;
      const whole = rint(x * weight * unit);
      const high = Math.floor(whole / WORD);
      words[wide * i] = whole - high * WORD;
      if (wide === 2) words[2 * i + 1] = high; // modulo 2^32
    }
    return words;
  }
}

/** The nearest whole number; ties to even, so the mean does not drift. */
function rint(x: number): number {
  if (Math.abs(x) >= WHOLE) return x;
  return x < 0 ? x - WHOLE + WHOLE : x + WHOLE - WHOLE;
}
