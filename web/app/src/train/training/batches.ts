/**
 * Which examples each step of an epoch takes.
 *
 * The order follows from `seed` and `epoch` alone, so a training that was
 * broken off goes on with the batch that was next. Batches are as even as can
 * be: of 33 examples, 17 and 16 rather than 32 and 1, because the statistics
 * of BatchNormalization need company.
 *
 * @param examples How many there are.
 * @param batchSize Most of a batch.
 * @param seed A whole number.
 * @param epoch From 0.
 * @returns Places of examples, each once.
 */
export function batches(
  examples: number,
  batchSize: number,
  seed: number,
  epoch: number,
): number[][] {
  const order = shuffled(examples, seed, epoch);
  const steps = Math.ceil(examples / batchSize);
  return Array.from({ length: steps }, (_, step) =>
    order.slice(
      Math.round((step * examples) / steps),
      Math.round(((step + 1) * examples) / steps),
    ),
  );
}

/** Fisher and Yates' shuffle. */
function shuffled(count: number, seed: number, epoch: number): number[] {
  const random = generator(Math.imul(seed | 0, 0x9e3779b1) + epoch);
  const order = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    const kept = order[last] ?? 0;
    order[last] = order[other] ?? 0;
    order[other] = kept;
  }
  return order;
}

/** Mulberry32: numbers from 0 to 1 that a seed gives again. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
