import type { Pixels } from "../images/pixels";

/** Most channels that a picture shows, so that each can be seen. */
const MOST_CHANNELS = 16;

/** A gray picture of one example of a cut tensor. */
export interface Picture {
  readonly pixels: Pixels;
  /** Channels that it shows, side by side. */
  readonly shown: number;
  /** Channels that there are. */
  readonly channels: number;
}

/**
 * Draws what a server sees of one example.
 *
 * Channels of `(height, width, channels)` are laid out as tiles, each from
 * its smallest value (black) to its largest (white); a tensor of another rank
 * becomes one strip of numbers, in rows of about the same length.
 *
 * @param values Of one example, row by row.
 * @param shape Of the tensor, without the batch.
 */
export function picture(
  values: Float32Array,
  shape: readonly number[],
): Picture {
  if (shape.length !== 3) {
    const width = Math.ceil(Math.sqrt(values.length));
    const height = Math.ceil(values.length / width);
    const tile = new Uint8ClampedArray(width * height);
    paint(values, 0, 1, values.length, (at, gray) => {
      tile[at] = gray;
    });
    const pixels = { values: tile, height, width, channels: 1 };
    return { pixels, shown: 1, channels: 1 };
  }
  const [rows = 0, columns = 0, channels = 0] = shape;
  const shown = Math.min(channels, MOST_CHANNELS);
  const across = Math.ceil(Math.sqrt(shown));
  const down = Math.ceil(shown / across);
  const width = across * (columns + 1) - 1;
  const height = down * (rows + 1) - 1;
  const canvas = new Uint8ClampedArray(width * height).fill(128);
  for (let channel = 0; channel < shown; channel += 1) {
    const left = (channel % across) * (columns + 1);
    const top = Math.floor(channel / across) * (rows + 1);
    paint(values, channel, channels, rows * columns, (at, gray) => {
      const y = top + Math.floor(at / columns);
      canvas[y * width + left + (at % columns)] = gray;
    });
  }
  const pixels = { values: canvas, height, width, channels: 1 };
  return { pixels, shown, channels };
}

/** Hands each value of a channel out as a gray from 0 to 255. */
function paint(
  values: Float32Array,
  first: number,
  stride: number,
  count: number,
  put: (at: number, gray: number) => void,
): void {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (let at = 0; at < count; at += 1) {
    const value = values[first + at * stride] ?? 0;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  const range = most - least || 1;
  for (let at = 0; at < count; at += 1) {
    const value = values[first + at * stride] ?? 0;
    put(at, (255 * (value - least)) / range);
  }
}
