/** What a phone trains on. */
import { DataError } from "../errors.js";
import type { TypedArray } from "../tensors.js";

/** Examples of a batch, row after row. */
export interface Rows {
  /** One array an input. */
  readonly x: readonly TypedArray[];
  /** One array an output. */
  readonly y: readonly TypedArray[];
  /** What each example counts; none for 1. */
  readonly sampleWeight?: Float32Array | undefined;
}

/** Examples that are fetched when a step needs them. */
export interface Examples {
  /** How many there are. */
  readonly count: number;
  /** Those at some places, from 0, in that order. */
  take(places: readonly number[]): Rows | Promise<Rows>;
}

/** All examples, as arrays. */
export interface Arrays extends Rows {
  readonly count: number;
}

/**
 * Examples that are here as arrays.
 *
 * @throws DataError If an array has no whole number of rows.
 */
export function examplesOf(data: Examples | Arrays): Examples {
  if ("take" in data) return data;
  const { count, x, y, sampleWeight } = data;
  for (const array of [...x, ...y, ...(sampleWeight ? [sampleWeight] : [])]) {
    if (array.length % count) {
      throw new DataError(
        `Expected arrays of ${count} rows of the same length. Received: one ` +
          `of ${array.length} numbers.`,
      );
    }
  }
  return {
    count,
    take: (places) => ({
      x: x.map((array) => gather(array, places, count)),
      y: y.map((array) => gather(array, places, count)),
      sampleWeight: sampleWeight && gather(sampleWeight, places, count),
    }),
  };
}

function gather<T extends TypedArray>(
  array: T,
  places: readonly number[],
  count: number,
): T {
  const width = array.length / count;
  const made = array.slice(0, places.length * width) as T;
  for (const [row, place] of places.entries()) {
    made.set(array.subarray(place * width, (place + 1) * width), row * width);
  }
  return made;
}

/**
 * The order of an epoch.
 *
 * @param seed Shuffles, each epoch otherwise; null for the order as it is.
 */
export function order(
  count: number,
  seed: number | null,
  epoch: number,
): number[] {
  const places = Array.from({ length: count }, (_, place) => place);
  if (seed === null) return places;
  const random = generator(Math.imul(seed, 0x9e3779b1) + epoch);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [places[last], places[other]] = [
      places[other] as number,
      places[last] as number,
    ];
  }
  return places;
}

/** Mulberry32: numbers from 0 to 1 that a seed gives again. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
