import { expect, test } from "vitest";
import { toModelInput } from "../src/train/images/model_input";
import { resize } from "../src/train/images/resize";
import type { Preprocess } from "../src/train/phone/types";
// Of Python: tests/web/test_page_input.py keeps it true.
import golden from "./golden/model_input.json";

test.each(golden)("an image of $shape becomes $target as in Python", (item) => {
  const [height = 0, width = 0, channels = 0] = item.shape;
  const [tall = 0, wide = 0, deep = 0] = item.target;
  const values = Uint8ClampedArray.from(item.image);
  const pixels = { values, height, width, channels };

  const small = resize(pixels, tall, wide);
  const shape = { height: tall, width: wide, channels: deep };
  const x = toModelInput(pixels, shape, item.preprocess as Preprocess | null);

  expect(Array.from(small.values)).toEqual(item.resized);
  expect(x.length).toBe(item.x.length);
  const largest = Math.max(...item.x.map(Math.abs));
  x.forEach((value, at) => {
    const error = Math.abs(value - (item.x[at] ?? Number.NaN));
    expect(error).toBeLessThanOrEqual(1e-5 * largest);
  });
});

test("an image that has the size already is not touched", () => {
  const values = Uint8ClampedArray.from([1, 2, 3, 4]);
  const pixels = { values, height: 2, width: 2, channels: 1 };

  expect(resize(pixels, 2, 2)).toBe(pixels);
});
