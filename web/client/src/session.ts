/** The phone's side of a session: a message at a time, each once. */
import {
  create,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
} from "@bufbuild/protobuf";
import type { ClientDescription } from "./description.js";
import { DataError, RefusedError, said } from "./errors.js";
import {
  type CohortInfo,
  type Envelope,
  EnvelopeSchema,
  type Hello,
  HelloSchema,
  MomentSchema,
  type Welcome,
} from "./gen/split_pb.js";
import type { Journal, Moment, SentStep } from "./journal.js";
import type { Retry } from "./retry.js";
import {
  envelopeOf,
  expectKind,
  type Kind,
  type Message,
  type MessageOf,
  nbytesOf,
} from "./wire/envelope.js";
import type { Transport } from "./wire/transport.js";

/** At being where the server is. */
const TRIES = 3;

/** A reply: its message, and the bytes that its tensors describe. */
export interface Reply<K extends Kind> {
  readonly message: MessageOf<K>;
  readonly payload: Uint8Array;
}

/**
 * Speaks with one server. When the connection is lost, or the server dies and
 * comes back, the session goes on: a message is sent until it is answered, and
 * steps that the server lost are sent again ("On the phone", "When the
 * connection breaks").
 */
export class Session {
  /** Name of the session; empty if none is open. */
  name: string;
  /** Number of the session's next step. */
  nextStep: number;
  /** Of the body, after the last step of this half. */
  moment: Moment;
  /** What the server says to people when it welcomes them. */
  notice = "";
  /** Of the phones that train one model there, if they do. */
  cohort: CohortInfo | undefined;
  /** Whether the body has no weights to train. */
  frozenBody = false;
  /** Whether steps can be lost, and so are kept. */
  keepsCheckpoints = false;
  /** Bytes of all messages so far. */
  readonly bytes = { up: 0, down: 0 };
  /** How much is kept for a server that may die. */
  readonly logBytes: number;
  readonly #hello: Hello;
  #connected = false;

  constructor(
    private readonly transport: Transport,
    private readonly retry: Retry,
    private readonly journal: Journal,
    description: ClientDescription,
  ) {
    const { half } = journal;
    this.logBytes = retry.logBytes;
    this.name = half?.session ?? "";
    this.nextStep = half?.nextStep ?? 0;
    this.moment = half?.moment ?? description.moment ?? { run: "", steps: 0 };
    try {
      this.#hello = fromJson(HelloSchema, description.hello as JsonValue, {
        ignoreUnknownFields: true,
      });
    } catch (error) {
      throw new DataError(
        "Expected a Hello as proto JSON in client.json. Received: " +
          `${said(error)}. Export the model again.`,
        { cause: error },
      );
    }
  }

  /**
   * Opens a session, or goes on with that of the journal.
   *
   * @param open The step that is not over, if there is one.
   * @returns Whether it went on; not if there was none, or the server does
   *   not know it any more: it ended, or the server came back without it.
   * @throws RefusedError If the server refused it.
   * @throws TransportError If there is no server.
   */
  async begin(open?: SentStep): Promise<boolean> {
    if (this.name && !this.#connected) {
      try {
        await this.#insist(() => this.#resume(open && parse(open.forward)));
        return true;
      } catch (error) {
        if (!isLost(error)) throw error;
      }
    }
    if (!this.name) await this.#insist(() => this.#open());
    return false;
  }

  /**
   * Sends a message until it is answered.
   *
   * @param kind Of the reply.
   * @param message What to send; its session is filled in.
   * @param payload What its tensors describe.
   * @param forward Goes before it once more where the server has lost that.
   * @throws RefusedError If the server refused it.
   * @throws ProtocolError If the reply is of another kind.
   * @throws TransportError If no reply came in the time of `retry`.
   */
  async send<K extends Kind>(
    kind: K,
    message: Message,
    payload?: Uint8Array,
    forward?: Envelope,
  ): Promise<Reply<K>> {
    const envelope = envelopeOf(message, payload);
    return await this.sendEnvelope(kind, envelope, forward);
  }

  /** The same for an envelope that is there. */
  async sendEnvelope<K extends Kind>(
    kind: K,
    envelope: Envelope,
    forward?: Envelope,
  ): Promise<Reply<K>> {
    return await this.#insist(async () => {
      if (!this.#connected) {
        await (this.name ? this.#resume(forward) : this.#open());
      }
      return await this.#once(kind, envelope);
    });
  }

  /**
   * Sends a message of a cohort until it is answered, and not with `Later`.
   *
   * @param signal Ends the waiting for others, with its reason.
   */
  async ask<K extends Kind>(
    kind: K,
    message: Message,
    payload?: Uint8Array,
    signal?: AbortSignal,
  ): Promise<Reply<K>> {
    for (;;) {
      signal?.throwIfAborted();
      const reply = await this.#insist(async () => {
        if (!this.#connected) await (this.name ? this.#resume() : this.#open());
        return await this.#exchange(envelopeOf(message, payload));
      });
      if (reply.message.case === "later") continue; // others are awaited
      return { message: expectKind(reply, kind), payload: reply.payload };
    }
  }

  /** Asks the server to make the steps so far outlive it. */
  async checkpoint(): Promise<void> {
    await this.send("done", {
      case: "checkpoint",
      value: { $typeName: "keras_split.v1.Checkpoint", session: "" },
    });
  }

  /** Ends the session. */
  async goodbye(): Promise<void> {
    await this.send("done", {
      case: "goodbye",
      value: { $typeName: "keras_split.v1.Goodbye", session: "" },
    });
    this.#forget();
  }

  /**
   * Has the next message open another session, of which nothing is kept.
   *
   * The server hears nothing of it, and ends this one when it was idle for
   * long.
   */
  leave(): void {
    this.#forget();
  }

  // -- one message ---------------------------------------------------------

  async #insist<T>(attempt: () => Promise<T>): Promise<T> {
    try {
      return await this.retry.call(async () => {
        try {
          return await attempt();
        } catch (error) {
          // What broke may have arrived; only Hello tells.
          if (!(error instanceof RefusedError)) this.#connected = false;
          throw error;
        }
      });
    } catch (error) {
      if (isLost(error)) this.#forget();
      throw error;
    }
  }

  async #once<K extends Kind>(kind: K, envelope: Envelope): Promise<Reply<K>> {
    const reply = await this.#exchange(envelope);
    return { message: expectKind(reply, kind), payload: reply.payload };
  }

  async #exchange(envelope: Envelope): Promise<Envelope> {
    const { value } = envelope.message;
    // Under another name if the server never heard of the session.
    if (value && "session" in value && !isHello(envelope)) {
      value.session = this.name;
    }
    this.bytes.up += nbytesOf(envelope);
    const reply = await this.transport.exchange(
      envelope,
      1000 * this.retry.replyTimeoutS,
    );
    this.bytes.down += nbytesOf(reply);
    return reply;
  }

  async #open(): Promise<void> {
    const welcome = await this.#greet("", 0);
    this.name = welcome.session;
    this.nextStep = Number(welcome.nextStep);
    await this.journal.enter(this.name, this.nextStep);
    this.#connected = true;
  }

  /** Says hello again, and sends again what the server has lost. */
  async #resume(forward?: Envelope): Promise<void> {
    for (let tries = 1; ; tries++) {
      const welcome = await this.#greetAgain();
      const server = Number(welcome.nextStep);
      try {
        await this.#sendLost(server);
        await this.journal.dropBefore(Number(welcome.durableSteps));
        if (forward && server <= this.nextStep) {
          await this.#once("features", forward);
        }
        this.#connected = true;
        return;
      } catch (error) {
        // What the broken connection had left behind took its step between
        // the Welcome and what was sent again.
        const order = error instanceof RefusedError && error.reason === "order";
        if (!order || tries === TRIES) throw error;
      }
    }
  }

  /** Says hello to a server that is where this phone can go on. */
  async #greetAgain(): Promise<Welcome> {
    let welcome: Welcome;
    try {
      welcome = await this.#greet(this.name, this.nextStep);
    } catch (error) {
      if (!isLost(error) || this.nextStep) throw error;
      welcome = await this.#greet("", 0); // nothing is lost
      this.name = welcome.session;
      await this.journal.enter(this.name, 0, true);
    }
    const server = Number(welcome.nextStep);
    const known = this.journal.firstKept ?? this.nextStep;
    if (server < known || server > this.nextStep + 1) {
      throw new RefusedError(
        `Expected a server that has taken the steps before ${known}, and ` +
          `none after ${this.nextStep}. Received: one whose next step is ` +
          `${server}: it went back to an old checkpoint. Go on from a saved ` +
          "state of both halves.",
        "order",
      );
    }
    return welcome;
  }

  async #greet(session: string, nextStep: number): Promise<Welcome> {
    const { run, steps } = this.moment;
    const hello = create(HelloSchema, {
      ...this.#hello,
      session,
      nextStep: BigInt(nextStep),
    });
    if (run) {
      hello.moment = create(MomentSchema, { run, steps: BigInt(steps) });
    }
    const { message: welcome } = await this.#once(
      "welcome",
      envelopeOf({ case: "hello", value: hello }),
    );
    this.notice = welcome.notice;
    this.cohort = welcome.cohort;
    this.frozenBody = welcome.frozenBody;
    this.keepsCheckpoints = welcome.keepsCheckpoints;
    return welcome;
  }

  /** Brings the server to where it was before the phone's next step. */
  async #sendLost(server: number): Promise<void> {
    for await (const sent of this.journal.since(server)) {
      try {
        await this.#once("features", parse(sent.forward));
        const { message } = await this.#once(
          "smashedGrad",
          parse(sent.backward),
        );
        // The same steps, but of a run of their own: among those of other
        // clients they may be others now.
        this.moment = momentOf(message.moment) ?? this.moment;
      } catch (error) {
        // The others have made it again meanwhile, without this phone.
        if (!(error instanceof RefusedError && error.reason === "late")) {
          throw error;
        }
      }
    }
  }

  /** The session is over, wherever it stands. */
  #forget(): void {
    this.name = "";
    this.nextStep = 0;
    this.#connected = false;
  }
}

/** A moment as this package has it, if the server says one. */
export function momentOf(
  moment: { run: string; steps: bigint } | undefined,
): Moment | undefined {
  return moment?.run
    ? { run: moment.run, steps: Number(moment.steps) }
    : undefined;
}

/** An envelope of its bytes. */
export function parse(bytes: Uint8Array): Envelope {
  return fromBinary(EnvelopeSchema, bytes);
}

/** The bytes of an envelope. */
export function serialize(envelope: Envelope): Uint8Array {
  return toBinary(EnvelopeSchema, envelope);
}

function isHello(envelope: Envelope): boolean {
  return envelope.message.case === "hello";
}

/** Whether an error says that the session is no more, or is another's. */
export function isLost(error: unknown): boolean {
  return (
    error instanceof RefusedError &&
    (error.reason === "session" || error.reason === "permission")
  );
}
