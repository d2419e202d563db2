import { expect, test } from "vitest";
import type { Numbers } from "../src/train/phone/types";
import { decode } from "../src/train/smashed/decode";
import { picture } from "../src/train/smashed/picture";

function tensor(codes: Numbers, shape: number[]) {
  return { name: "z", shape, codes };
}

test("codes of each width become numbers, first in the low bits", () => {
  const int8 = tensor(Uint8Array.from([9, 8, 7, 6]), [2, 2]);
  const int4 = tensor(Uint8Array.from([0x21, 0x03]), [1, 3]);
  const int2 = tensor(Uint8Array.from([0b11100100]), [1, 4]);

  expect([...(decode(int8, "int8", 1) ?? [])]).toEqual([7, 6]);
  expect([...(decode(int4, "int4", 0) ?? [])]).toEqual([1, 2, 3]);
  expect([...(decode(int2, "int2", 0) ?? [])]).toEqual([0, 1, 2, 3]);
});

test("small floats become numbers", () => {
  const whole = tensor(Float32Array.from([1, -2.5]), [1, 2]);
  const quarter = tensor(Uint8Array.from([0x38, 0xb8, 0x7e]), [1, 3]);

  expect([...(decode(whole, "float32", 0) ?? [])]).toEqual([1, -2.5]);
  expect([...(decode(quarter, "float8_e4m3", 0) ?? [])]).toEqual([1, -1, 448]);
});

test("what is not all there, or not known, is not drawn", () => {
  const some = tensor(Uint8Array.from([1]), [1, 4]);

  expect(decode(some, "int8", 0)).toBeNull();
  expect(decode(some, "posit", 0)).toBeNull();
  expect(decode(some, "int8", 1)).toBeNull();
});

test("channels are tiles, each from its smallest to its largest value", () => {
  const values = Float32Array.from([0, 10, 5, 20, 10, 30, 20, 10]);

  const { pixels, shown, channels } = picture(values, [2, 2, 2]);

  expect([shown, channels, pixels.width, pixels.height]).toEqual([2, 2, 5, 2]);
  expect([...pixels.values]).toEqual([
    0, 64, 128, 0, 128, 128, 255, 128, 255, 0,
  ]);
});

test("a tensor without rows and columns is a strip", () => {
  const { pixels } = picture(Float32Array.from([1, 2, 3, 4, 5]), [5]);

  expect([pixels.width, pixels.height]).toEqual([3, 2]);
});
