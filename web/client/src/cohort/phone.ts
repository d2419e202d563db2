/** What a training needs of `SplitClient`, and no more. */
import type { ClientDescription } from "../description.js";
import type { CohortInfo, MergedStep } from "../gen/split_pb.js";
import type { StepResult } from "../half.js";
import type { Moment } from "../journal.js";
import type { Reply } from "../session.js";
import type { TypedArray } from "../tensors.js";
import type { Kind, Message } from "../wire/envelope.js";

/** Speaks with the server for a phone of a cohort. */
export interface Conversation {
  /** What the server says of its cohort, if it has one. */
  readonly cohort: CohortInfo | undefined;
  /** Of the body that the phone's half is one model with. */
  moment: Moment;
  /**
   * Sends a message of a cohort until it is answered, and not with `Later`.
   *
   * @param signal Ends the waiting for others.
   */
  ask<K extends Kind>(
    kind: K,
    message: Message,
    payload?: Uint8Array,
    signal?: AbortSignal,
  ): Promise<Reply<K>>;
  /** Ends the session; the next message opens another. */
  goodbye(): Promise<void>;
}

/** A phone that trains. */
export interface TrainingPhone {
  readonly description: ClientDescription;
  readonly conversation: Conversation;
  step(
    x: readonly TypedArray[],
    y: readonly TypedArray[],
    count: number,
    options?: {
      readonly sampleWeight?: Float32Array | undefined;
      readonly learningRate?: number | undefined;
      /** The step of a cohort that it is a share of. */
      readonly merged?: MergedStep | undefined;
    },
  ): Promise<StepResult>;
  /** A copy of weights, statistics and optimizer slots, by name. */
  getState(): Promise<Map<string, TypedArray>>;
  setState(state: ReadonlyMap<string, TypedArray>): Promise<void>;
}

/** Of a conversation, what an average needs. */
export type Asking = Pick<Conversation, "cohort" | "moment" | "ask">;
