/** Pixels of one image, row by row, channels last, 0 to 255. */
export interface Pixels {
  readonly values: Uint8ClampedArray | Float32Array;
  readonly height: number;
  readonly width: number;
  /** 1 for gray, 3 for red, green and blue. */
  readonly channels: number;
}

/**
 * What a canvas holds, without its alpha.
 *
 * @param rgba Four values a pixel.
 */
export function withoutAlpha(
  rgba: Uint8ClampedArray,
  height: number,
  width: number,
): Pixels {
  const values = new Uint8ClampedArray(height * width * 3);
  for (let from = 0, to = 0; to < values.length; from += 4, to += 3) {
    values[to] = rgba[from] ?? 0;
    values[to + 1] = rgba[from + 1] ?? 0;
    values[to + 2] = rgba[from + 2] ?? 0;
  }
  return { values, height, width, channels: 3 };
}

/** The other way: four values a pixel, none of them transparent. */
export function withAlpha(pixels: Pixels): Uint8ClampedArray<ArrayBuffer> {
  const { values, channels } = pixels;
  const count = pixels.height * pixels.width;
  const rgba = new Uint8ClampedArray(4 * count);
  for (let pixel = 0; pixel < count; pixel += 1) {
    for (let color = 0; color < 3; color += 1) {
      const from = pixel * channels + (channels === 1 ? 0 : color);
      rgba[4 * pixel + color] = values[from] ?? 0;
    }
    rgba[4 * pixel + 3] = 255;
  }
  return rgba;
}
