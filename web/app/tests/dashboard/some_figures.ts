import type { Figures, Replica, Session } from "../../src/dashboard/figures";

const TIMES = { boundsS: [], counts: [], totalS: 0 };

/** A phone that trains. */
export const PHONE: Session = {
  label: "ab12cd34",
  client: "ann",
  peer: "ipv4:10.0.0.2:4000",
  steps: 10,
  uplinkBytes: 0,
  downlinkBytes: 0,
  idleS: 0,
  connected: true,
  replica: "",
};

/** One process of several. */
export const REPLICA: Replica = {
  name: "0",
  address: "10.0.0.2:5000",
  up: true,
  silentS: 0,
  restarts: 0,
  steps: 10,
  uplinkBytes: 0,
  downlinkBytes: 0,
  memoryBytes: 0,
};

/** What a server says that did nothing, but for `more`. */
export function figuresOf(more: Partial<Figures> = {}): Figures {
  return {
    fingerprint: "f".repeat(64),
    cut: ["first", "second"],
    uptimeS: 0,
    steps: 0,
    uplinkBytes: 0,
    downlinkBytes: 0,
    sessions: [],
    refusals: {},
    checkpointAgeS: null,
    draining: false,
    memoryBytes: 0,
    inferenceOnly: false,
    cohort: null,
    queueTimes: TIMES,
    computeTimes: TIMES,
    checkpointTimes: TIMES,
    opened: 0,
    resumed: 0,
    closed: {},
    replicas: [],
    averages: 0,
    ...more,
  };
}
