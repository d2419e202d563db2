/**
 * What a phone keeps, so that it can be closed at any moment.
 *
 * Three things, each written whole or not at all:
 *
 * - its half after its last step, with the place in the session;
 * - a step whose gradients may be on their way: it is written before they
 *   are sent, and ends in the same write that brings the next half;
 * - for a server that writes checkpoints, the messages of the steps that it
 *   could still lose.
 */
import type { Changes, Store } from "./store/store.js";
import type { CutTensor, Tensor, Tensors } from "./tensors.js";

/** Which step of which training a half is of. */
export interface Moment {
  /** 32 hexadecimal digits; empty of a half that has not trained. */
  readonly run: string;
  readonly steps: number;
}

/** The phone's half after a step. */
export interface Half {
  /** Name of the session; empty if none is open. */
  readonly session: string;
  /** Number of the session's next step. */
  readonly nextStep: number;
  /** Steps taken so far, over all sessions. */
  readonly step: number;
  readonly moment: Moment;
  readonly state: ReadonlyMap<string, Tensor>;
}

/** The two messages of a step, as they were sent. */
export interface SentStep {
  readonly forward: Uint8Array;
  readonly backward: Uint8Array;
}

/** A step whose gradients may be on their way to the server. */
export interface OpenStep extends SentStep {
  /** In the session. */
  readonly number: number;
  readonly batch: Tensors;
  readonly count: number;
  readonly learningRate: number;
  readonly features: readonly CutTensor[];
  readonly penalty: number;
}

const HALF = "half";
const OPEN = "open";
const LOG = "log/";

/** Reads and writes these in a store. */
export class Journal {
  #half: Half | undefined;
  #open: OpenStep | undefined;
  #log: { key: string; step: number; nbytes: number }[] = [];
  #unwritten = new Map<string, unknown>();

  private constructor(private readonly store: Store) {}

  /** @throws StoreError If the store cannot be read. */
  static async read(store: Store): Promise<Journal> {
    const journal = new Journal(store);
    journal.#half = (await store.get(HALF)) as Half | undefined;
    journal.#open = (await store.get(OPEN)) as OpenStep | undefined;
    for (const key of await store.keys(LOG)) {
      const [step = "", nbytes = ""] = key.slice(LOG.length).split("/");
      journal.#log.push({ key, step: Number(step), nbytes: Number(nbytes) });
    }
    return journal;
  }

  /** After the last step; none of a phone that is new. */
  get half(): Half | undefined {
    return this.#half;
  }

  /** The step that is not over. */
  get open(): OpenStep | undefined {
    return this.#open;
  }

  /** Number of the first step that is kept for the server, if one is. */
  get firstKept(): number | undefined {
    return this.#log[0]?.step;
  }

  /** How much is kept for the server. */
  get keptBytes(): number {
    return this.#log.reduce((sum, { nbytes }) => sum + nbytes, 0);
  }

  /** Keeps a step before its gradients are sent. */
  async begin(open: OpenStep): Promise<void> {
    const before = this.#unwritten;
    try {
      await this.#write(new Map([[OPEN, open]]));
    } catch (error) {
      this.#unwritten = before; // it has not begun
      throw error;
    }
    this.#open = open;
  }

  /** The open step is over: it was not taken. */
  async drop(half?: Half): Promise<void> {
    this.#open = undefined;
    if (half) this.#half = half;
    await this.#write(
      new Map<string, unknown>([
        [OPEN, undefined],
        ...(half ? [[HALF, half] as const] : []),
      ]),
    );
  }

  /**
   * The open step was taken on both sides.
   *
   * @param half After it.
   * @param keep Whether the server could still lose it.
   * @param durable Steps below this one it will not lose.
   */
  async commit(half: Half, keep: boolean, durable: number): Promise<void> {
    const changes = new Map<string, unknown>([
      [HALF, half],
      [OPEN, undefined],
    ]);
    const open = this.#open;
    if (open && keep && open.number >= durable) {
      const { forward, backward, number: step } = open;
      const nbytes = forward.length + backward.length;
      const key = `${LOG}${String(step).padStart(12, "0")}/${nbytes}`;
      this.#log.push({ key, step, nbytes });
      changes.set(key, { forward, backward } satisfies SentStep);
    }
    this.#forget(changes, durable);
    this.#half = half;
    this.#open = undefined;
    await this.#write(changes);
  }

  /** Another half, of a file or an average. */
  async replace(half: Half, clearLog = false): Promise<void> {
    const changes = new Map<string, unknown>([[HALF, half]]);
    if (clearLog) this.#forget(changes, Number.POSITIVE_INFINITY);
    this.#half = half;
    await this.#write(changes);
  }

  /**
   * The half goes on in another session, of which nothing is kept.
   *
   * Before it is used: a page that is killed then asks for that one again.
   *
   * @param keepOpen Whether the step that is not over goes on there, too.
   */
  async enter(
    session: string,
    nextStep: number,
    keepOpen = false,
  ): Promise<void> {
    if (!this.#half) return;
    const half = { ...this.#half, session, nextStep };
    const changes = new Map<string, unknown>([[HALF, half]]);
    this.#forget(changes, Number.POSITIVE_INFINITY);
    if (this.#open && !keepOpen) changes.set(OPEN, undefined);
    this.#half = half;
    if (!keepOpen) this.#open = undefined;
    await this.#write(changes);
  }

  /** Forgets steps that the server will not lose any more. */
  async dropBefore(step: number): Promise<void> {
    const changes = new Map<string, unknown>();
    this.#forget(changes, step);
    if (changes.size) await this.#write(changes);
  }

  /** The messages of all kept steps from this one on, in order. */
  async *since(step: number): AsyncGenerator<SentStep> {
    await this.flush();
    for (const kept of [...this.#log]) {
      if (kept.step < step) continue;
      yield (await this.store.get(kept.key)) as SentStep;
    }
  }

  /**
   * Writes what could not be written when it happened.
   *
   * @throws StoreError If it still cannot.
   */
  async flush(): Promise<void> {
    if (this.#unwritten.size) await this.#write(new Map());
  }

  #forget(changes: Map<string, unknown>, step: number): void {
    while (this.#log[0] && this.#log[0].step < step) {
      changes.set(this.#log[0].key, undefined);
      this.#log.shift();
    }
  }

  /** Undefined removes. What fails is written with the next. */
  async #write(changes: ReadonlyMap<string, unknown>): Promise<void> {
    const all = new Map([...this.#unwritten, ...changes]);
    this.#unwritten = all;
    const entries = [...all];
    const write: Changes = {
      put: new Map(entries.filter(([, value]) => value !== undefined)),
      remove: entries.filter(([, v]) => v === undefined).map(([key]) => key),
    };
    await this.store.write(write);
    this.#unwritten = new Map();
  }
}
