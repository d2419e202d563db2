import type {
  CohortStatus,
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
