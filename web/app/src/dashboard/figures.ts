import type {
  CohortStatus,
  ReplicaStatus,
  SessionStatus,
  StatusReply,
  Times as WireTimes,
} from "keras-split-client/status";
import type { Times } from "./times";

/** How many, by reason. */
export type Counts = Readonly<Record<string, number>>;

/** One open session. */
export interface Session {
  readonly label: string;
  readonly client: string;
  readonly peer: string;
  readonly steps: number;
  readonly uplinkBytes: number;
  readonly downlinkBytes: number;
  readonly idleS: number;
  readonly connected: boolean;
  /** Which of several processes has it; empty if there is one. */
  readonly replica: string;
}

/** One process of several that are one server. */
export interface Replica {
  /** Its number, or "front" for that which sends phones to the others. */
  readonly name: string;
  readonly address: string;
  /** Whether phones are sent to it. */
  readonly up: boolean;
  /** Seconds since it said what follows. */
  readonly silentS: number;
  readonly restarts: number;
  readonly steps: number;
  readonly uplinkBytes: number;
  readonly downlinkBytes: number;
  /** 0 if it does not know. */
  readonly memoryBytes: number;
}

/** One round of a cohort, or merged step, that ended. */
export interface Round {
  readonly number: number;
  readonly merged: boolean;
  readonly seconds: number;
  readonly members: readonly number[];
  readonly dropped: readonly number[];
}

/** The phones that train one model. */
export interface Cohort {
  readonly name: string;
  readonly mode: string;
  readonly phones: number;
  readonly secure: boolean;
  readonly members: number;
  /** Labels of their sessions, by number in the cohort. */
  readonly present: ReadonlyMap<number, string>;
  readonly steps: number;
  readonly rounds: number;
  readonly leftOut: number;
  readonly stepTimes: Times;
  readonly roundTimes: Times;
  /** The newest first. */
  readonly recent: readonly Round[];
}

/** A `StatusReply`, in numbers that JavaScript counts with. */
export interface Figures {
  readonly fingerprint: string;
  readonly cut: readonly string[];
  readonly uptimeS: number;
  readonly steps: number;
  readonly uplinkBytes: number;
  readonly downlinkBytes: number;
  readonly sessions: readonly Session[];
  readonly refusals: Counts;
  /** Null without a checkpoint. */
  readonly checkpointAgeS: number | null;
  readonly draining: boolean;
  /** 0 if the server does not know. */
  readonly memoryBytes: number;
  readonly inferenceOnly: boolean;
  readonly cohort: Cohort | null;
  readonly queueTimes: Times;
  readonly computeTimes: Times;
  readonly checkpointTimes: Times;
  readonly opened: number;
  readonly resumed: number;
  readonly closed: Counts;
  /** The front first; none if this is one process. */
  readonly replicas: readonly Replica[];
  /** How often the bodies of replicas became one. */
  readonly averages: number;
}

/** What a reply says. */
export function figures(reply: StatusReply): Figures {
  const age = reply.checkpointAgeS;
  return {
    fingerprint: reply.fingerprint,
    cut: reply.cut,
    uptimeS: reply.uptimeS,
    steps: Number(reply.steps),
    uplinkBytes: Number(reply.uplinkBytes),
    downlinkBytes: Number(reply.downlinkBytes),
    sessions: reply.sessions.map(session),
    refusals: counts(reply.refusals),
    checkpointAgeS: age < 0 ? null : age,
    draining: reply.draining,
    memoryBytes: Number(reply.memoryBytes),
    inferenceOnly: reply.inferenceOnly,
    cohort: reply.cohort ? cohort(reply.cohort) : null,
    queueTimes: times(reply.queueTimes),
    computeTimes: times(reply.computeTimes),
    checkpointTimes: times(reply.checkpointTimes),
    opened: Number(reply.sessionsOpened),
    resumed: Number(reply.sessionsResumed),
    closed: counts(reply.sessionsClosed),
    replicas: reply.replicas.map(replica),
    averages: Number(reply.averages),
  };
}

function session(item: SessionStatus): Session {
  return {
    label: item.label,
    client: item.client,
    peer: item.peer,
    steps: Number(item.steps),
    uplinkBytes: Number(item.uplinkBytes),
    downlinkBytes: Number(item.downlinkBytes),
    idleS: item.idleS,
    connected: item.connected,
    replica: item.replica,
  };
}

function replica(item: ReplicaStatus): Replica {
  return {
    name: item.name,
    address: item.address,
    up: item.up,
    silentS: item.silentS,
    restarts: Number(item.restarts),
    steps: Number(item.status?.steps ?? 0),
    uplinkBytes: Number(item.status?.uplinkBytes ?? 0),
    downlinkBytes: Number(item.status?.downlinkBytes ?? 0),
    memoryBytes: Number(item.status?.memoryBytes ?? 0),
  };
}

function cohort(item: CohortStatus): Cohort {
  const present = Object.entries(item.present)
    .map(([member, label]) => [Number(member), label] as const)
    .sort(([one], [other]) => one - other);
  return {
    name: item.name,
    mode: item.mode,
    phones: item.phones,
    secure: item.secure,
    members: Number(item.members),
    present: new Map(present),
    steps: Number(item.steps),
    rounds: Number(item.rounds),
    leftOut: Number(item.leftOut),
    stepTimes: times(item.stepTimes),
    roundTimes: times(item.roundTimes),
    recent: item.recent
      .map((one) => ({ ...one, number: Number(one.number) }))
      .reverse(),
  };
}

function times(item: WireTimes | undefined): Times {
  return {
    boundsS: item?.boundsS ?? [],
    counts: item?.counts.map(Number) ?? [],
    totalS: item?.totalS ?? 0,
  };
}

function counts(map: { [reason: string]: bigint }): Counts {
  return Object.fromEntries(
    Object.entries(map).map(([reason, many]) => [reason, Number(many)]),
  );
}
