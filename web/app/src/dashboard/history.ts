import type { Figures } from "./figures";

/** What a server said, and when it came. */
export interface Sample {
  /** Milliseconds of this browser's clock. */
  readonly atMs: number;
  readonly figures: Figures;
}

/** What happened in a second, between two replies. */
export interface Rates {
  readonly steps: number;
  readonly uplinkBytes: number;
  readonly downlinkBytes: number;
}

/** Rates over time, as uPlot draws them: null where none is known. */
export interface Points {
  readonly atS: readonly number[];
  readonly steps: readonly (number | null)[];
  readonly uplinkBytes: readonly (number | null)[];
  readonly downlinkBytes: readonly (number | null)[];
}

const KEPT = 600; // ten minutes
const LATELY_MS = 30_000;
const PAUSE_MS = 5_000; // after that the line has a gap
// Two clocks drift apart, and replies take their time. One that was started
// again within this time is known by its counters.
const SLACK_S = 2;

/**
 * Whether the server was started anew between two of its replies.
 *
 * Its clock then began again: it is less far than the time that passed here
 * says. That also finds out if this tab slept for longer than the server has
 * been up since.
 */
export function restarted(before: Sample, now: Sample): boolean {
  const passedS = (now.atMs - before.atMs) / 1000;
  const countedS = now.figures.uptimeS - before.figures.uptimeS;
  return (
    countedS < 0 ||
    countedS < passedS - SLACK_S - 0.01 * passedS ||
    now.figures.steps < before.figures.steps ||
    now.figures.uplinkBytes < before.figures.uplinkBytes ||
    now.figures.downlinkBytes < before.figures.downlinkBytes
  );
}

/**
 * Rates between two replies, by the server's own clock: neither the way here
 * nor a pause of this tab distorts them. Null if they say nothing.
 */
export function ratesBetween(before: Sample, now: Sample): Rates | null {
  const seconds = now.figures.uptimeS - before.figures.uptimeS;
  if (seconds <= 0 || restarted(before, now)) return null;
  const rate = (name: keyof Rates) =>
    (now.figures[name] - before.figures[name]) / seconds;
  return {
    steps: rate("steps"),
    uplinkBytes: rate("uplinkBytes"),
    downlinkBytes: rate("downlinkBytes"),
  };
}

/** What a server said lately; one more sample makes another history. */
export class History {
  private constructor(
    /** The last half minute, the oldest first; one server's. */
    readonly samples: readonly Sample[],
    readonly points: Points,
    /** Null until two replies can be compared. */
    readonly rates: Rates | null,
  ) {}

  static readonly empty = new History(
    [],
    { atS: [], steps: [], uplinkBytes: [], downlinkBytes: [] },
    null,
  );

  /** The last reply. */
  get last(): Sample | undefined {
    return this.samples.at(-1);
  }

  /** That of half a minute ago, or the oldest since; null without two. */
  get before(): Sample | null {
    return this.samples.length > 1 ? (this.samples[0] ?? null) : null;
  }

  /** With one more reply. */
  with(now: Sample): History {
    const { last } = this;
    const anew = last !== undefined && restarted(last, now);
    const rates = last && !anew ? ratesBetween(last, now) : null;
    let points = this.points;
    if (last && (anew || now.atMs - last.atMs > PAUSE_MS))
      points = added(points, last.atMs + 1, null);
    points = added(points, now.atMs, rates);
    const kept = anew
      ? []
      : this.samples.filter(
          (one, index) =>
            one.atMs >= now.atMs - LATELY_MS ||
            index === this.samples.length - 1,
        );
    return new History([...kept, now], points, rates);
  }

  /** Steps a second of a session, lately; null if that is not known. */
  stepsOf(label: string): number | null {
    return this.perS(
      ({ sessions }) => sessions.find((one) => one.label === label)?.steps,
    );
  }

  /** Steps a second of a replica, lately; null if that is not known. */
  stepsOfReplica(name: string): number | null {
    return this.perS(
      ({ replicas }) => replicas.find((one) => one.name === name)?.steps,
    );
  }

  private perS(of: (figures: Figures) => number | undefined): number | null {
    const { last, before } = this;
    if (!last || !before) return null;
    const now = of(last.figures);
    const then = of(before.figures);
    const seconds = last.figures.uptimeS - before.figures.uptimeS;
    if (now === undefined || then === undefined || seconds <= 0) return null;
    return Math.max(0, now - then) / seconds;
  }
}

function added(points: Points, atMs: number, rates: Rates | null): Points {
  const more = <T>(list: readonly T[], value: T) =>
    [...list, value].slice(-KEPT);
  return {
    atS: more(points.atS, atMs / 1000),
    steps: more(points.steps, rates?.steps ?? null),
    uplinkBytes: more(points.uplinkBytes, rates?.uplinkBytes ?? null),
    downlinkBytes: more(points.downlinkBytes, rates?.downlinkBytes ?? null),
  };
}
