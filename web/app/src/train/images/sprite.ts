import type { Pixels } from "./pixels";

/** Side of one sample, in pixels. */
export const SIDE = 28;
/** Samples of each kind in the picture: those to train on, then the rest. */
export const TO_TRAIN = 20;
export const TO_TRY = 10;

/** What is in each row of the picture, from the top. */
export const KINDS = [
  "T-shirt/top",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Ankle boot",
] as const;

/**
 * Cuts one sample out of the picture that `scripts/make_sample_sprite` wrote.
 *
 * @param sprite The whole picture.
 * @param kind Its row.
 * @param index Its place in the row, from the left.
 * @returns Gray, 28 by 28.
 */
export function sample(sprite: Pixels, kind: number, index: number): Pixels {
  const values = new Uint8ClampedArray(SIDE * SIDE);
  for (let y = 0; y < SIDE; y += 1) {
    for (let x = 0; x < SIDE; x += 1) {
      const pixel = (kind * SIDE + y) * sprite.width + index * SIDE + x;
      values[y * SIDE + x] = sprite.values[pixel * sprite.channels] ?? 0;
    }
  }
  return { values, height: SIDE, width: SIDE, channels: 1 };
}
