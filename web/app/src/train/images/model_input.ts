import type { Preprocess } from "../phone/types";
import type { Pixels } from "./pixels";
import { resize } from "./resize";

/** Height, width and channels of what a model takes. */
export interface InputShape {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

// ITU-R BT.601, as Pillow makes gray.
const LUMA = [0.299, 0.587, 0.114] as const;

/**
 * One image as the model takes it: `keras_split.device`'s `preprocess`.
 *
 * @param pixels Of any size, gray or colour, 0 to 255.
 * @param shape Of the model's input.
 * @param preprocess Of client.json; null leaves the range as it is.
 * @returns `height * width * channels` numbers, row by row.
 */
export function toModelInput(
  pixels: Pixels,
  shape: InputShape,
  preprocess: Preprocess | null,
): Float32Array {
  const floats = { ...pixels, values: Float32Array.from(pixels.values) };
  const resized = resize(floats, shape.height, shape.width);
  const x = toChannels(resized, shape.channels);
  if (preprocess) scale(x, shape.channels, preprocess);
  return x;
}

function toChannels(pixels: Pixels, channels: number): Float32Array {
  const values = pixels.values as Float32Array;
  if (pixels.channels === channels) return values;
  const count = pixels.height * pixels.width;
  const made = new Float32Array(count * channels);
  for (let pixel = 0; pixel < count; pixel += 1) {
    if (channels === 3) {
      made.fill(values[pixel] ?? 0, 3 * pixel, 3 * pixel + 3);
    } else {
      made[pixel] = LUMA.reduce(
        (sum, share, color) => sum + share * (values[3 * pixel + color] ?? 0),
        0,
      );
    }
  }
  return made;
}

/** In place. */
function scale(x: Float32Array, channels: number, how: Preprocess): void {
  const row = new Float32Array(channels);
  for (let start = 0; start < x.length; start += channels) {
    row.set(x.subarray(start, start + channels));
    for (let to = 0; to < channels; to += 1) {
      let sum = how.offset[to] ?? 0;
      for (let from = 0; from < channels; from += 1) {
        sum += (row[from] ?? 0) * (how.matrix[from]?.[to] ?? 0);
      }
      x[start + to] = sum;
    }
  }
}
