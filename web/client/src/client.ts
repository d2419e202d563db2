/** The phone of split learning: its half trains here, a server has the rest. */
import { create } from "@bufbuild/protobuf";
import {
  type ClientDescription,
  checkDescription,
  checkModel,
  checkState,
  storeName,
} from "./description.js";
import { DataError, RefusedError, said, TransportError } from "./errors.js";
import {
  type CohortInfo,
  type MergedStep,
  RestoreSchema,
  SnapshotSchema,
} from "./gen/split_pb.js";
import { PhoneHalf, type Score, type StepResult } from "./half.js";
import { Journal } from "./journal.js";
import { resume } from "./resume.js";
import { Retry, type RetryOptions } from "./retry.js";
import type { Runtime } from "./runtime/runtime.js";
import { WorkerRuntime } from "./runtime/worker.js";
import { Session } from "./session.js";
import { readState, writeState } from "./state_file.js";
import { IndexedDbStore } from "./store/indexed_db.js";
import { MemoryStore, type Store } from "./store/store.js";
import { dtypeOf, type Tensor, type TypedArray } from "./tensors.js";
import { codecOf } from "./wire/codecs.js";
import { connect, type Transport } from "./wire/transport.js";

/** What `SplitClient.open` takes. */
export interface OpenOptions {
  /** Of `keras-split serve --web`, such as `https://192.168.1.5:8443`. */
  readonly baseUrl: string;
  /** What the server asks for, if it asks for tokens. */
  readonly token?: string | undefined;
  /** client.tflite, or where it is. */
  readonly model: ArrayBuffer | URL;
  /** client.json. */
  readonly description: ClientDescription;
  /** By default LiteRT.js in a worker, with its wasm in `baseUrl/wasm/`. */
  readonly runtime?: Runtime | undefined;
  /** By default IndexedDB, and memory where there is none. */
  readonly store?: Store | undefined;
  readonly retry?: RetryOptions | undefined;
  /** By default Connect over HTTP to `baseUrl`. */
  readonly transport?: Transport | undefined;
}

/** How a step is taken. */
export interface StepOptions {
  /** What each example counts; `count` numbers. */
  readonly sampleWeight?: Float32Array | undefined;
  /** That of the body, which travels; by default that of the export. */
  readonly learningRate?: number | undefined;
  /** The step of a cohort that this one is a share of. */
  readonly merged?: MergedStep | undefined;
}

/**
 * Trains head and tail of a client.tflite; a server has the body.
 *
 * A step that fails or is refused moves nothing on the phone. A lost
 * connection is opened again, and no step is taken twice. What it has learned
 * lies in its store after each step, so a page that is closed at any moment
 * goes on with `open`. Calls wait for each other.
 *
 * @example
 * const client = await SplitClient.open({ baseUrl, token, model, description });
 * while (client.nextStep < 100) {
 *   const { x, y } = batches[client.nextStep % batches.length];
 *   const { loss } = await client.step([x], [y], y.length);
 * }
 * await client.close();
 */
export class SplitClient {
  /** The step that an earlier life had begun, and `open` has finished. */
  readonly resumed: StepResult | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(
    /** client.json. */
    readonly description: ClientDescription,
    /** Speaks with the server; for cohorts, which have messages of their own. */
    readonly conversation: Session,
    private readonly half: PhoneHalf,
    private readonly journal: Journal,
    private readonly parts: { runtime: Runtime; store: Store },
    resumed: StepResult | undefined,
  ) {
    this.resumed = resumed;
  }

  /**
   * Opens a session, or goes on with the one that the store has.
   *
   * @throws DataError If the files do not fit together, or LiteRT.js does not
   *   take them.
   * @throws RuntimeError If LiteRT.js cannot run the file.
   * @throws StoreError If what was kept cannot be read, or another tab has it.
   * @throws RefusedError If the server refused the session.
   * @throws TransportError If there is no server.
   */
  static async open(options: OpenOptions): Promise<SplitClient> {
    const { baseUrl, token, description } = options;
    if (!globalThis.crypto?.subtle) {
      throw new DataError(
        "Expected a page that the browser calls secure: https, or localhost. " +
          `Received: ${baseUrl}. Start the server with TLS.`,
      );
    }
    checkDescription(description);
    const codec = await codecOf(description.contract.codec);
    const model = await bytesOf(options.model);
    await checkModel(model, description);
    const runtime =
      options.runtime ??
      new WorkerRuntime({ wasm: new URL("wasm/", slashed(baseUrl)).href });
    const name = await storeName(description, baseUrl);
    const store =
      options.store ??
      (globalThis.indexedDB
        ? await IndexedDbStore.open(name)
        : new MemoryStore());
    try {
      const journal = await Journal.read(store);
      const session = new Session(
        options.transport ?? connect({ baseUrl, ...(token && { token }) }),
        new Retry(options.retry),
        journal,
        description,
      );
      await runtime.load(model);
      const half = new PhoneHalf(runtime, description, session, journal, codec);
      const resumed = await resume(half, session, journal, description);
      return new SplitClient(
        description,
        session,
        half,
        journal,
        { runtime, store },
        resumed,
      );
    } catch (error) {
      await runtime.close();
      await store.close();
      throw error;
    }
  }

  /** Name of the session; empty if none is open. */
  get session(): string {
    return this.conversation.name;
  }

  /**
   * Number of the step that the next call of `step` takes, over all sessions.
   * A step that was interrupted counts: it is finished first.
   */
  get nextStep(): number {
    return this.half.step + (this.journal.open ? 1 : 0);
  }

  /** Bytes of all messages so far. */
  get bytes(): { readonly up: number; readonly down: number } {
    return { ...this.conversation.bytes };
  }

  /** What the server said to people when it welcomed this phone. */
  get notice(): string {
    return this.conversation.notice;
  }

  /** Of the phones that train one model on that server, if they do. */
  get cohort(): CohortInfo | undefined {
    return this.conversation.cohort;
  }

  /**
   * Takes one step.
   *
   * @param x One array an input, row after row of `count` examples.
   * @param y Labels, one array an output: class numbers as int32 for the
   *   sparse loss, else float32.
   * @param count How many examples, 1 to `batch_size`.
   * @throws DataError If the batch does not fit.
   * @throws RefusedError If the server refused the step; it was not taken.
   * @throws TransportError If the server went away. If the step may have
   *   arrived, `nextStep` counts it, and the next call finishes it first.
   */
  async step(
    x: readonly TypedArray[],
    y: readonly TypedArray[],
    count: number,
    options: StepOptions = {},
  ): Promise<StepResult> {
    const { sampleWeight, merged } = options;
    const batch = this.half.batch(x, count, { y, sampleWeight });
    const rate =
      options.learningRate ?? this.description.optimizer?.learning_rate ?? 0;
    if (!(rate >= 0 && rate <= 1000)) {
      throw new DataError(
        `Expected a learning rate from 0 to 1000. Received: ${rate}. Look at ` +
          "the schedule.",
      );
    }
    return await this.#alone(async () => {
      await this.half.finish();
      await this.#begin();
      const result = await this.half.train(batch, rate, merged);
      await this.#makeRoom();
      return result;
    });
  }

  /**
   * Finishes a step that was interrupted, if one is open.
   *
   * @returns What it came to; undefined if none was open, or it was not taken.
   */
  async finish(): Promise<StepResult | undefined> {
    return await this.#alone(() => this.half.finish());
  }

  /**
   * Predictions of each output, row after row; nothing changes.
   *
   * @throws DataError If the batch does not fit.
   * @throws RefusedError If the server refused it.
   * @throws TransportError If the server went away.
   */
  async infer(
    x: readonly TypedArray[],
    count: number,
  ): Promise<Float32Array[]> {
    const batch = this.half.batch(x, count);
    return await this.#alone(async () => {
      await this.#begin();
      return (await this.half.infer(batch)) as Float32Array[];
    });
  }

  /** Loss and right answers of a batch in inference mode; nothing changes. */
  async evaluate(
    x: readonly TypedArray[],
    y: readonly TypedArray[],
    count: number,
    options: Pick<StepOptions, "sampleWeight"> = {},
  ): Promise<Score> {
    const batch = this.half.batch(x, count, { y, ...options });
    return await this.#alone(async () => {
      await this.#begin();
      return await this.half.evaluate(batch);
    });
  }

  /** A copy of weights, statistics and optimizer slots, by name. */
  async getState(): Promise<Map<string, TypedArray>> {
    this.half.checkTrains();
    return await this.#alone(async () => {
      await this.half.finish();
      const state = await this.half.getState();
      return new Map([...state].map(([name, { data }]) => [name, data]));
    });
  }

  /**
   * Puts other weights in, of an average for example.
   *
   * @throws DataError If they are not those of this file.
   */
  async setState(state: ReadonlyMap<string, TypedArray>): Promise<void> {
    this.half.checkTrains();
    const shapes = new Map(
      (this.description.state ?? []).map(({ name, shape }) => [name, shape]),
    );
    const arrays = new Map<string, Tensor>(
      [...state].map(([name, data]) => [
        name,
        { data, shape: shapes.get(name) ?? [data.length] },
      ]),
    );
    checkState(arrays, this.description, dtypeOf);
    await this.#alone(async () => {
      await this.half.finish();
      await this.half.setState(arrays);
      await this.journal.replace(this.half.half(arrays));
    });
  }

  /**
   * Everything that a training continues from, as one .npz, the same that
   * `save_state` of `keras_split.device` writes. The server keeps a snapshot
   * of its half, and the file its tag.
   */
  async save(): Promise<Uint8Array<ArrayBuffer>> {
    this.half.checkTrains();
    return await this.#alone(async () => {
      await this.half.finish();
      await this.#begin();
      const arrays = await this.half.getState();
      const { step } = this.half;
      const { moment } = this.conversation;
      const tag = await this.#snapshot();
      return writeState({ arrays, step, tag, moment }, this.description);
    });
  }

  /**
   * Brings back what `save` wrote, on both sides.
   *
   * @param file Its bytes.
   * @param body Whether the server brings back its half, too, which others
   *   may train. Of a cohort it does not, unless it was started with
   *   `--allow-restore`: there `false` loads the phone's half alone.
   * @throws DataError If it is damaged, or of another model.
   * @throws RefusedError If the server has the snapshot no more, or the body
   *   is a cohort's; nothing has changed then.
   */
  async load(file: Uint8Array, body = true): Promise<void> {
    this.half.checkTrains();
    const { arrays, step, tag, moment } = readState(file, this.description);
    await this.#alone(async () => {
      await this.half.finish();
      const restored = body && tag !== "";
      if (restored) {
        await this.#begin();
        const value = create(RestoreSchema, { tag, optimizer: true });
        await this.conversation.send("done", { case: "restore", value });
      }
      await this.half.setState(arrays);
      this.half.step = step;
      this.conversation.moment = moment;
      // It wrote a checkpoint: nothing before it is to be sent again.
      await this.journal.replace(this.half.half(arrays), restored);
    });
  }

  /**
   * Says goodbye, and ends what runs. The store keeps the half: `open` goes
   * on from it in another session. Where the server is not there to hear it,
   * the session waits, and `open` goes on with that.
   */
  async close(): Promise<void> {
    await this.#alone(async () => {
      try {
        await this.half.finish();
        if (this.session) await this.conversation.goodbye();
        if (this.journal.half) {
          const { state } = this.journal.half;
          await this.journal.replace(this.half.half(state), true);
        }
      } catch (error) {
        const gone = error instanceof TransportError;
        if (!gone && !(error instanceof RefusedError)) throw error;
      } finally {
        this.#closed = true;
        await this.parts.runtime.close();
        await this.parts.store.close();
      }
    });
  }

  /** Opens another session where the last one was lost. */
  async #begin(): Promise<void> {
    if (!this.session) await this.conversation.begin();
  }

  /** Asks for a checkpoint when no more can be kept for the server. */
  async #makeRoom(): Promise<void> {
    if (this.journal.keptBytes <= this.conversation.logBytes) return;
    try {
      await this.conversation.checkpoint();
    } catch (error) {
      if (!(error instanceof RefusedError)) return; // the next step tries
      // Nothing more can be kept for this server.
    }
    await this.journal.dropBefore(Number.POSITIVE_INFINITY);
  }

  async #snapshot(): Promise<string> {
    try {
      const value = create(SnapshotSchema);
      const message = { case: "snapshot" as const, value };
      const reply = await this.conversation.send("snapshotTaken", message);
      return reply.message.tag;
    } catch (error) {
      const still =
        error instanceof RefusedError && error.reason === "inference-only";
      if (still) return ""; // that body never moves
      throw error;
    }
  }

  /** Runs when those before are over: a runtime is for one at a time. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(() => {
      if (this.#closed) {
        throw new DataError(
          "Expected an open client. Received: one after close(). Open " +
            "another with SplitClient.open.",
        );
      }
      return work();
    });
    this.#turn = mine.catch(() => {});
    return mine;
  }
}

async function bytesOf(
  model: ArrayBuffer | URL,
): Promise<Uint8Array<ArrayBuffer>> {
  if (model instanceof ArrayBuffer) return new Uint8Array(model);
  try {
    const response = await fetch(model);
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw new TransportError(
      `Expected client.tflite at ${model}. Received: ${said(error)}. Is the ` +
        "server running, and is this device online?",
      { cause: error },
    );
  }
}

/** An address that others can be put behind. */
function slashed(baseUrl: string): string {
  return baseUrl.endsWith("/") ? baseUrl : `${baseUrl}/`;
}
