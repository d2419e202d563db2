/** A server of a cohort that says what a test has it say. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Conversation, TrainingPhone } from "../../src/cohort/phone.js";
import { packVector } from "../../src/cohort/vectors.js";
import type { ClientDescription } from "../../src/description.js";
import { RefusedError } from "../../src/errors.js";
import {
  type CohortInfo,
  CohortInfoSchema,
  type Contribution,
  EnrolledSchema,
  GatheredSchema,
  type MergedStep,
  RoundBegunSchema,
  ShareSchema,
} from "../../src/gen/split_pb.js";
import type { StepResult } from "../../src/half.js";
import type { Reply } from "../../src/session.js";
import type { TypedArray } from "../../src/tensors.js";
import { raw } from "../../src/wire/codecs.js";
import type { Kind, Message } from "../../src/wire/envelope.js";

export const NAME = "cd".repeat(16);

export function info(
  what: MessageInitShape<typeof CohortInfoSchema> = {},
): CohortInfo {
  return create(CohortInfoSchema, {
    ...{ name: NAME, mode: "private", phones: 4, secure: true, bits: 64 },
    ...what,
  });
}

/** A reply, and the numbers that are its tensor. */
export interface Said {
  readonly message: Message;
  readonly vector?: Float32Array | undefined;
}

export type Answer = (
  message: Message,
  payload: Uint8Array,
) => Said | Promise<Said>;

/** What was asked is kept, in order. */
export class FakeConversation implements Conversation {
  readonly asked: Message[] = [];
  readonly payloads: Uint8Array[] = [];
  goodbyes = 0;
  moment = { run: "", steps: 0 };

  constructor(
    public cohort: CohortInfo | undefined,
    public answer: Answer,
  ) {}

  async ask<K extends Kind>(
    kind: K,
    message: Message,
    payload = new Uint8Array(),
    signal?: AbortSignal,
  ): Promise<Reply<K>> {
    signal?.throwIfAborted();
    this.asked.push(message);
    this.payloads.push(payload);
    const { message: said, vector } = await this.answer(message, payload);
    if (said.case !== kind) throw new Error(`${said.case} is no ${kind}`);
    const packed = vector && packVector(vector, raw);
    const value = { ...said.value, ...(packed && { tensors: packed.tensors }) };
    return {
      message: value as Reply<K>["message"],
      payload: packed?.payload ?? new Uint8Array(),
    };
  }

  async goodbye(): Promise<void> {
    this.goodbyes++;
  }

  /** Kinds of what was asked; stages of contributions. */
  get kinds(): string[] {
    return this.asked.map(({ case: kind, value }) =>
      kind === "contribution" ? (value as Contribution).stage : `${kind}`,
    );
  }
}

export function gathered(
  what: MessageInitShape<typeof GatheredSchema>,
  vector?: Float32Array,
): Said {
  const value = create(GatheredSchema, { version: -1n, ...what });
  return { message: { case: "gathered", value }, vector };
}

export function enrolled(
  what: MessageInitShape<typeof EnrolledSchema>,
  vector?: Float32Array,
): Said {
  const value = create(EnrolledSchema, what);
  return { message: { case: "enrolled", value }, vector };
}

export function begun(round: bigint, version = round, vector?: Float32Array) {
  const value = create(RoundBegunSchema, { round, version });
  return { message: { case: "roundBegun" as const, value }, vector };
}

export function share(
  what: MessageInitShape<typeof ShareSchema>,
  vector?: Float32Array,
): Said {
  return {
    message: { case: "share", value: create(ShareSchema, what) },
    vector,
  };
}

export const LATE = new RefusedError("Expected it in time.", "late");

const STATE = [
  { name: "head_0", kind: "weight", shape: [2], variable: "a/kernel" },
  { name: "tail_0", kind: "weight", shape: [1], variable: "b/kernel" },
  { name: "tail_0_m", kind: "slot", shape: [1], variable: "SGD/b" },
];

/** A phone whose weights grow by one for each example it trains on. */
export class FakePhone implements TrainingPhone {
  readonly description = {
    ...{ batch_size: 4, state: STATE, frozen: null },
    contract: { codec: "raw" },
    outputs: [{ name: "out", accuracy: true }],
  } as unknown as ClientDescription;
  state = new Map<string, TypedArray>([
    ["head_0", Float32Array.of(0, 10)],
    ["tail_0", Float32Array.of(20)],
    ["tail_0_m", Float32Array.of(30)],
  ]);
  /** First numbers of the examples of each step. */
  readonly steps: number[][] = [];
  readonly merged: (MergedStep | undefined)[] = [];
  /** What steps throw, one after the other. */
  readonly refusals: (Error | undefined)[] = [];
  loss = 2;

  constructor(readonly conversation: FakeConversation) {}

  async step(
    x: readonly TypedArray[],
    _y: readonly TypedArray[],
    count: number,
    options: Parameters<TrainingPhone["step"]>[3] = {},
  ): Promise<StepResult> {
    const refusal = this.refusals.shift();
    if (refusal) throw refusal;
    this.steps.push([...(x[0] as Float32Array)]);
    this.merged.push(options.merged);
    const taken = Number.isFinite(this.loss);
    if (taken) {
      for (const name of ["head_0", "tail_0"]) {
        this.state.set(
          name,
          this.state.get(name)?.map((w) => w + count) as never,
        );
      }
    }
    return {
      ...{ step: this.steps.length - 1, loss: this.loss, correct: [count / 2] },
      ms: { head: 0, link: 0, tail: 0, backward: 0 },
      ...{ bytes: { up: 0, down: 0 }, smashed: [], taken },
    };
  }

  async getState(): Promise<Map<string, TypedArray>> {
    return new Map([...this.state].map(([name, data]) => [name, data.slice()]));
  }

  async setState(state: ReadonlyMap<string, TypedArray>): Promise<void> {
    this.state = new Map(state);
  }

  get vector(): number[] {
    return ["head_0", "tail_0"].flatMap((n) => [...(this.state.get(n) ?? [])]);
  }
}
