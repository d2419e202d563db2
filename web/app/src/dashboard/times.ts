/** How long something took each time, counted by bounds. */
export interface Times {
  /** Upper bounds in seconds, rising. */
  readonly boundsS: readonly number[];
  /** How many took up to each bound; the last is of those above all. */
  readonly counts: readonly number[];
  readonly totalS: number;
}

/** How often it happened. */
export function count(times: Times): number {
  return times.counts.reduce((sum, one) => sum + one, 0);
}

/** Seconds on average; null if it never happened. */
export function meanS(times: Times): number | null {
  const all = count(times);
  return all ? times.totalS / all : null;
}

/**
 * Seconds within which a share of them was done, about; null if it never
 * happened. As `protocol/times.py` has it, and Prometheus'
 * `histogram_quantile`: evenly spread between two bounds, and those above the
 * last one count as if they had taken that long.
 *
 * @param share Above 0 and at most 1.
 */
export function withinS(times: Times, share: number): number | null {
  const wanted = share * count(times);
  if (!wanted) return null;
  let below = 0;
  let lower = 0;
  for (const [index, upper] of times.boundsS.entries()) {
    const here = times.counts[index] ?? 0;
    if (below + here >= wanted)
      return lower + ((upper - lower) * (wanted - below)) / here;
    below += here;
    lower = upper;
  }
  return lower;
}

/** Those that were not there before; all, if it was counted anew. */
export function since(times: Times, before: Times): Times {
  const same =
    times.counts.length === before.counts.length &&
    times.boundsS.every((bound, index) => bound === before.boundsS[index]);
  const counts = times.counts.map((one, index) => {
    return one - (before.counts[index] ?? 0);
  });
  if (!same || counts.some((one) => one < 0)) return times;
  return { ...times, counts, totalS: times.totalS - before.totalS };
}
