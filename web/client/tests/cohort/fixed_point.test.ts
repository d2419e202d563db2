import { expect, test } from "vitest";
import { bitsOf, exponent, FixedPoint } from "../../src/cohort/fixed_point.js";
import { numbers, VECTORS } from "./vectors.js";

test.each(VECTORS.fixed_point)(
  "integers of $bits bits are those of Python",
  ({ bits, vector, cases }) => {
    for (const { exponents, weight, fraction, encoded } of cases) {
      const format = FixedPoint.of(bits, exponents);

      const words = format.encode(Float32Array.from(vector), weight);

      expect(format.fraction).toBe(fraction);
      expect(numbers(words, bits).map(String)).toEqual(encoded);
    }
  },
);

test("an exponent is the least that holds the weight", () => {
  const told = [0, 0.3, 1, 2, 3, 1024, 1025].map((w) => exponent(w, 64));

  expect(told).toEqual([0, 0, 0, 1, 2, 10, 11]);
});

test.each([-1, Number.NaN, 2 ** 20 + 1])("a weight of %d is refused", (w) => {
  expect(() => exponent(w, 32)).toThrow("Expected a weight from 0 to 2^20");
});

test.each([17, -16.5, Number.NaN, Number.POSITIVE_INFINITY])(
  "%d does not fit 32 bits, and nothing wraps",
  (x) => {
    const format = FixedPoint.of(32, [0, 0]);

    expect(() => format.encode(Float32Array.of(0, x), 1)).toThrow(
      "Expected numbers from -16 to 16",
    );
  },
);

test("phones with too many examples together are refused", () => {
  expect(() => FixedPoint.of(32, Array(65).fill(20))).toThrow(
    "Serve with masks of 64 bits",
  );
  expect(FixedPoint.of(32, Array(64).fill(20)).fraction).toBe(0);
});

test("masks of other widths than 32 and 64 bits are refused", () => {
  expect(() => bitsOf(16)).toThrow("Expected masks of 32 or 64 bits");
});
