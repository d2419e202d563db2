import type { Pixels } from "./pixels";

/** Which source pixels go into one target pixel, and how much of each. */
interface Mix {
  readonly start: number;
  readonly weights: Float32Array;
}

/**
 * Resizes one image with bilinear weights, as `keras_split.datasets.resize`.
 *
 * An enlarged pixel is the mix of its nearest four; a shrunk one averages all
 * that it covers. A browser's own `drawImage` promises no numbers, so two
 * phones would disagree: this is done by hand, and equals NumPy's to 1e-5 of
 * the range. Whole values are rounded, ties to even; floats are not.
 *
 * @returns `pixels` themselves if the size is theirs already.
 */
export function resize(pixels: Pixels, height: number, width: number): Pixels {
  if (pixels.height === height && pixels.width === width) return pixels;
  const { channels } = pixels;
  const rows = mixes(pixels.height, height);
  const columns = mixes(pixels.width, width);
  const row = pixels.width * channels;
  const tall = new Float32Array(height * row);
  rows.forEach(({ start, weights }, y) => {
    for (let at = 0; at < row; at += 1) {
      let sum = 0;
      for (let k = 0; k < weights.length; k += 1) {
        sum += (weights[k] ?? 0) * (pixels.values[(start + k) * row + at] ?? 0);
      }
      tall[y * row + at] = sum;
    }
  });
  const made = height * width * channels;
  const values =
    pixels.values instanceof Float32Array
      ? new Float32Array(made)
      : new Uint8ClampedArray(made); // which rounds ties to even, as rint does
  for (let y = 0; y < height; y += 1) {
    columns.forEach(({ start, weights }, x) => {
      for (let channel = 0; channel < channels; channel += 1) {
        let sum = 0;
        for (let k = 0; k < weights.length; k += 1) {
          const from = y * row + (start + k) * channels + channel;
          sum += (weights[k] ?? 0) * (tall[from] ?? 0);
        }
        values[(y * width + x) * channels + channel] = Math.fround(sum);
      }
    });
  }
  return { values, height, width, channels };
}

/** A triangle around each target pixel's centre, as wide as the larger. */
function mixes(source: number, target: number): Mix[] {
  const ratio = source / target;
  const reach = Math.max(ratio, 1);
  return Array.from({ length: target }, (_, index) => {
    const centre = (index + 0.5) * ratio - 0.5;
    const start = Math.max(0, Math.ceil(centre - reach));
    const end = Math.min(source - 1, Math.floor(centre + reach));
    const weights = Array.from({ length: end - start + 1 }, (_, k) =>
      Math.max(0, 1 - Math.abs(start + k - centre) / reach),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { start, weights: Float32Array.from(weights, (w) => w / sum) };
  });
}
