/** Head and tail of the phone, with the server in between. */
import { create } from "@bufbuild/protobuf";
import { type Batch, batchOf, type Labels, trainsNot } from "./batch.js";
import type { ClientDescription } from "./description.js";
import { ProtocolError, RefusedError } from "./errors.js";
import {
  BackwardSchema,
  ForwardSchema,
  InferSchema,
  type MergedStep,
} from "./gen/split_pb.js";
import type { Half, Journal, OpenStep } from "./journal.js";
import { cut, notFinite, RowPadder } from "./rows.js";
import { inputsOf, type Runtime } from "./runtime/runtime.js";
import { momentOf, parse, type Session, serialize } from "./session.js";
import {
  type CutTensor,
  dtypeOf,
  sameShape,
  scalar,
  type Tensor,
  type Tensors,
  type TypedArray,
} from "./tensors.js";
import type { Codec } from "./wire/codecs.js";
import { envelopeOf, pack, unpack } from "./wire/envelope.js";

/** What a step came to. */
export interface StepResult {
  /** Its number, over all sessions. */
  readonly step: number;
  /** What Keras logs, before the step; NaN if it was not taken. */
  readonly loss: number;
  /** How many rows were right; one number for each output that counts. */
  readonly correct: number[];
  /** Milliseconds by part; `link` is the server and the way there. */
  readonly ms: { head: number; link: number; tail: number; backward: number };
  /** Bytes of its messages. */
  readonly bytes: { up: number; down: number };
  /** What was really sent of the examples. */
  readonly smashed: CutTensor[];
  /** False if something in it was not finite: neither half has moved. */
  readonly taken: boolean;
}

/** Loss and right answers in inference mode. */
export interface Score {
  readonly loss: number;
  readonly correct: number[];
}

// Refusals after which neither half has moved, and the step is left out.
const LEFT_OUT = ["not-finite", "norm"];
// After these the step is still to be sent, later or with another token.
const STILL_OPEN = ["busy", "memory", "rate", "stopping", "unauthenticated"];

/** Measures the parts of a step. */
class Laps {
  readonly ms = { head: 0, link: 0, tail: 0, backward: 0 };
  readonly #bytes: { up: number; down: number };

  constructor(private readonly counted: { up: number; down: number }) {
    this.#bytes = { ...counted };
  }

  async of<T>(part: keyof Laps["ms"], work: Promise<T>): Promise<T> {
    const began = performance.now();
    const made = await work;
    this.ms[part] += performance.now() - began;
    return made;
  }

  bytes(): { up: number; down: number } {
    return {
      up: this.counted.up - this.#bytes.up,
      down: this.counted.down - this.#bytes.down,
    };
  }
}

/**
 * Runs one batch: signatures, messages, signatures.
 *
 * What a signature gives is kept under its name, and the next takes from it
 * what it needs; so an edge from head to tail needs no code.
 */
export class PhoneHalf {
  /** Steps taken so far, over all sessions. */
  step: number;
  readonly #padders: Record<
    "smashed" | "features" | "features_grad" | "smashed_grad",
    RowPadder
  >;

  constructor(
    private readonly runtime: Runtime,
    private readonly description: ClientDescription,
    private readonly session: Session,
    private readonly journal: Journal,
    private readonly codec: Codec,
  ) {
    this.step = journal.half?.step ?? 0;
    const { smashed, features, quantization, shared } = description.contract;
    const { activations, gradients } = quantization;
    const inFile = new Map(
      Object.values(description.signatures)
        .flatMap(({ inputs, outputs }) => [...inputs, ...outputs])
        .map((tensor) => [tensor.name, tensor]),
    );
    this.#padders = {
      smashed: new RowPadder("smashed", smashed, activations, inFile, shared),
      features: new RowPadder("features", features, activations, inFile),
      features_grad: new RowPadder(
        "features_grad",
        features,
        gradients,
        inFile,
      ),
      smashed_grad: new RowPadder("smashed_grad", smashed, gradients, inFile),
    };
  }

  /**
   * Takes one step; only its last call changes something on the phone.
   *
   * @param merged The step of a cohort that it is a share of.
   * @throws RefusedError If the server refused it; it was not taken.
   * @throws TransportError If the server went away. What was not sent yet is
   *   forgotten; what may have arrived is finished by `finish`.
   */
  async train(
    batch: Batch,
    learningRate: number,
    merged?: MergedStep,
  ): Promise<StepResult> {
    const laps = new Laps(this.session.bytes);
    const { count } = batch;
    const number = this.session.nextStep;
    const known: Tensors = {
      ...batch.tensors,
      step: scalar("int32", this.step),
      learning_rate: scalar("float32", learningRate),
    };
    let smashed: CutTensor[] = [];
    try {
      await laps.of("head", this.#run("head_forward", known));
      smashed = this.#padders.smashed.leave(known, count);
      const up = pack(smashed, this.codec);
      const forward = envelopeOf(
        {
          case: "forward",
          value: create(ForwardSchema, {
            step: BigInt(number),
            tensors: up.described,
            noSmashedGrad: this.description.frozen_head ?? false,
            ...(merged && { merged }),
          }),
        },
        up.payload,
      );
      const reply = await laps.of(
        "link",
        this.session.sendEnvelope("features", forward),
      );
      const { tensors, penalty } = reply.message;
      const features = unpack(tensors, reply.payload, this.codec);
      const open = {
        number,
        batch: batch.tensors,
        count,
        learningRate,
        features,
        penalty,
        forward: serialize(forward),
      };
      const backward = await laps.of("tail", this.#tailStep(known, open));
      const whole: OpenStep = { ...open, backward };
      await this.journal.begin(whole);
      return await this.#finish(whole, known, laps, smashed);
    } catch (error) {
      if (!isLeftOut(error)) throw error;
      return {
        step: this.step,
        loss: Number.NaN,
        correct: this.#correct(),
        ms: laps.ms,
        bytes: laps.bytes(),
        smashed,
        taken: false,
      };
    }
  }

  /**
   * Second half of a step that was interrupted there, in this life or before.
   *
   * @returns What it came to; undefined if no step is open, or the server did
   *   not take it.
   */
  async finish(): Promise<StepResult | undefined> {
    const { open, half } = this.journal;
    if (!open) return undefined;
    if (half) {
      // As before the step, whatever the runtime had done of it.
      await this.setState(half.state);
      this.step = half.step;
      this.session.nextStep = half.nextStep;
    }
    const laps = new Laps(this.session.bytes);
    const known: Tensors = {
      ...open.batch,
      step: scalar("int32", this.step),
      learning_rate: scalar("float32", open.learningRate),
    };
    await laps.of("head", this.#run("head_forward", known));
    await laps.of("tail", this.#tailStep(known, open));
    const smashed = this.#padders.smashed.leave(known, open.count);
    try {
      return await this.#finish(open, known, laps, smashed);
    } catch (error) {
      const late = error instanceof RefusedError && error.reason === "late";
      if (late || isLeftOut(error)) return undefined;
      throw error;
    }
  }

  /** Whether a step that was begun, perhaps with another file, is of this. */
  fits({ batch, features, count }: OpenStep): boolean {
    const { signatures } = this.description;
    const wanted = ["head_forward", "tail_step"].flatMap(
      (name) => signatures[name]?.inputs ?? [],
    );
    const whole = wanted.every(({ name, dtype, shape }) => {
      const given = batch[name];
      if (!given) return true; // it comes of something else
      return dtypeOf(given.data) === dtype && sameShape(given.shape, shape);
    });
    try {
      if (whole) this.#padders.features.arrive(features, count);
    } catch {
      return false;
    }
    return whole;
  }

  /** Runs the tail, and makes the envelope with its gradients. */
  async #tailStep(
    known: Tensors,
    open: Pick<OpenStep, "features" | "count" | "number" | "penalty"> & {
      learningRate: number;
    },
  ): Promise<Uint8Array> {
    const { features, count, number, learningRate } = open;
    Object.assign(known, this.#padders.features.arrive(features, count));
    await this.#run("tail_step", known);
    if (!Number.isFinite(this.#loss(known, open.penalty))) {
      throw notFinite("loss");
    }
    const frozen = this.description.frozen_head && this.session.frozenBody;
    const gradients = this.#padders.features_grad.leave(known, count);
    const up = pack(frozen ? [] : gradients, this.codec);
    return serialize(
      envelopeOf(
        {
          case: "backward",
          value: create(BackwardSchema, {
            step: BigInt(number),
            tensors: up.described,
            learningRate,
          }),
        },
        up.payload,
      ),
    );
  }

  async #finish(
    open: OpenStep,
    known: Tensors,
    laps: Laps,
    smashed: CutTensor[],
  ): Promise<StepResult> {
    try {
      const reply = await laps.of(
        "link",
        this.session.sendEnvelope(
          "smashedGrad",
          parse(open.backward),
          parse(open.forward),
        ),
      );
      const { message, payload } = reply;
      if (!this.description.frozen_head) {
        const came = unpack(message.tensors, payload, this.codec);
        const { count } = open;
        Object.assign(known, this.#padders.smashed_grad.arrive(came, count));
      }
      await laps.of("backward", this.#run("head_backward", known));
      const state = await this.getState();
      // From here to the commit at once: the step is open until then, and who
      // asks for the next one meanwhile would hear one too many.
      const step = this.step++;
      this.session.nextStep = open.number + 1;
      this.session.moment = momentOf(message.moment) ?? this.session.moment;
      const { keepsCheckpoints } = this.session;
      const half = this.half(state);
      const durable = Number(message.durableSteps);
      await this.journal.commit(half, keepsCheckpoints, durable);
      return {
        step,
        loss: this.#loss(known, open.penalty),
        correct: this.#correct(known),
        ms: laps.ms,
        bytes: laps.bytes(),
        smashed,
        taken: true,
      };
    } catch (error) {
      if (error instanceof ProtocolError) {
        // The server has taken it, and says nothing that could be used.
        this.session.nextStep = open.number + 1;
      }
      if (isOver(error)) await this.journal.drop(this.#moved());
      throw error;
    }
  }

  /** Loss and right answers in inference mode; nothing changes. */
  async evaluate(batch: Batch): Promise<Score> {
    const { known, penalty } = await this.#infer(batch);
    await this.#run("tail_evaluate", known);
    return {
      loss: numberOf(known.loss) + penalty,
      correct: this.#correct(known),
    };
  }

  /** The predictions of each output, `count` rows each. */
  async infer(batch: Batch): Promise<TypedArray[]> {
    const { known } = await this.#infer(batch);
    await this.#run("tail_infer", known);
    return this.description.outputs.map(
      (_, i) => cut(known[`prediction_${i}`] as Tensor, batch.count).data,
    );
  }

  /** A batch of what a caller gave. */
  batch(x: readonly TypedArray[], count: number, labels?: Labels): Batch {
    if (labels) this.checkTrains();
    return batchOf(this.description, x, count, labels);
  }

  /** @throws DataError If the file only predicts. */
  checkTrains(): void {
    if (this.description.mode !== "train") throw trainsNot();
  }

  /** A copy of weights, statistics and optimizer slots, by name. */
  async getState(): Promise<Map<string, Tensor>> {
    const made = await this.runtime.run("get_state", {});
    return new Map(
      (this.description.state ?? []).map(({ name, shape }) => [
        name,
        { data: (made[name] as Tensor).data, shape },
      ]),
    );
  }

  /** Puts a copy back. */
  async setState(state: ReadonlyMap<string, Tensor>): Promise<void> {
    const known = Object.fromEntries(state);
    const { description } = this;
    await this.runtime.run(
      "set_state",
      inputsOf(description, "set_state", known),
    );
  }

  /** What is to be kept of this moment. */
  half(state: ReadonlyMap<string, Tensor>): Half {
    const { name, nextStep, moment } = this.session;
    return { session: name, nextStep, moment, step: this.step, state };
  }

  /** The half that was kept, at the session's place of now. */
  #moved(): Half | undefined {
    const kept = this.journal.half;
    return kept && this.half(kept.state);
  }

  async #infer(batch: Batch): Promise<{ known: Tensors; penalty: number }> {
    const known: Tensors = { ...batch.tensors };
    await this.#run("head_infer", known);
    const smashed = this.#padders.smashed.leave(known, batch.count);
    const { described, payload } = pack(smashed, this.codec);
    const value = create(InferSchema, { tensors: described });
    const reply = await this.session.send(
      "features",
      { case: "infer", value },
      payload,
    );
    const { tensors, penalty } = reply.message;
    const features = unpack(tensors, reply.payload, this.codec);
    Object.assign(known, this.#padders.features.arrive(features, batch.count));
    return { known, penalty };
  }

  /** Runs a signature on what it takes of `known`, and adds what it gives. */
  async #run(signature: string, known: Tensors): Promise<void> {
    const inputs = inputsOf(this.description, signature, known);
    Object.assign(known, await this.runtime.run(signature, inputs));
  }

  #loss(known: Tensors, penalty: number): number {
    return numberOf(known.loss) + numberOf(known.penalty) + penalty;
  }

  #correct(known?: Tensors): number[] {
    return this.description.outputs.flatMap((output, i) =>
      output.accuracy
        ? [known ? numberOf(known[`correct_${i}`]) : Number.NaN]
        : [],
    );
  }
}

function numberOf(tensor: Tensor | undefined): number {
  return tensor?.data[0] ?? Number.NaN;
}

function isLeftOut(error: unknown): boolean {
  return (
    (error instanceof RefusedError || error instanceof ProtocolError) &&
    LEFT_OUT.includes(error.reason)
  );
}

/** Whether an open step is not to be sent again. */
function isOver(error: unknown): boolean {
  if (error instanceof ProtocolError) return true;
  return error instanceof RefusedError && !STILL_OPEN.includes(error.reason);
}
