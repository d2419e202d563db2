import { expect, test } from "vitest";
import { middle } from "../src/train/images/camera";
import { withAlpha, withoutAlpha } from "../src/train/images/pixels";
import { SIDE, sample } from "../src/train/images/sprite";

test("a sample is cut out of its place in the sprite", () => {
  const width = 3 * SIDE;
  const values = new Uint8ClampedArray(width * 2 * SIDE * 3);
  const pixel = (SIDE + 5) * width + 2 * SIDE + 7; // row 1, the third image
  values.fill(200, 3 * pixel, 3 * pixel + 3);
  const sprite = { values, height: 2 * SIDE, width, channels: 3 };

  const cut = sample(sprite, 1, 2);

  expect(cut.values.indexOf(200)).toBe(5 * SIDE + 7);
  expect(cut.values.filter((value) => value > 0)).toHaveLength(1);
});

test("alpha goes and comes back as opaque", () => {
  const rgba = Uint8ClampedArray.from([1, 2, 3, 9, 4, 5, 6, 9]);

  const pixels = withoutAlpha(rgba, 1, 2);

  expect([...pixels.values]).toEqual([1, 2, 3, 4, 5, 6]);
  expect([...withAlpha(pixels)]).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
});

test("a photo is the largest part in the middle of what the camera sees", () => {
  expect(middle(640, 480, 1)).toEqual([80, 0, 480, 480]);
  expect(middle(480, 640, 1)).toEqual([0, 80, 480, 480]);
  expect(middle(640, 480, 2)).toEqual([0, 80, 640, 320]);
});
