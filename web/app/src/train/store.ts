import type { DBSchema, IDBPDatabase } from "idb";
import { openDB } from "idb";
import type { Pixels } from "./images/pixels";
import type { Plan } from "./training/plan";

/** A photo with its class, as it is kept on this phone. */
export interface Example {
  /** Number of its class. */
  readonly label: number;
  /** Of its class; of photos that were kept by an older page there is none. */
  readonly name?: string;
  readonly pixels: Pixels;
}

/** What a step was, for the plot. */
export interface Point {
  readonly loss: number;
  /** Share of right answers in the batch, 0 to 1. */
  readonly accuracy: number;
}

/** What is kept under a name. */
interface Settings {
  token: string;
  classes: string[];
  plan: Plan;
  /** Of the model that all this was made for. */
  fingerprint: string;
}

interface Schema extends DBSchema {
  settings: { key: string; value: unknown };
  examples: { key: number; value: Example };
  points: { key: number; value: Point };
}

/**
 * What the page itself keeps on this phone, in IndexedDB.
 *
 * Photos, names, the invitation's token, how far a training is. The phone's
 * half of the network is not in here: the client keeps that.
 */
export class PageStore {
  private constructor(private readonly db: IDBPDatabase<Schema>) {}

  static async open(name = "keras-split-page"): Promise<PageStore> {
    const db = await openDB<Schema>(name, 1, {
      upgrade(made) {
        made.createObjectStore("settings");
        made.createObjectStore("examples", { autoIncrement: true });
        made.createObjectStore("points", { autoIncrement: true });
      },
    });
    return new PageStore(db);
  }

  async get<K extends keyof Settings>(
    key: K,
  ): Promise<Settings[K] | undefined> {
    return (await this.db.get("settings", key)) as Settings[K] | undefined;
  }

  async set<K extends keyof Settings>(
    key: K,
    value: Settings[K],
  ): Promise<void> {
    await this.db.put("settings", value, key);
  }

  async forget(key: keyof Settings): Promise<void> {
    await this.db.delete("settings", key);
  }

  /** All photos, with their keys, in the order in which they came. */
  async examples(): Promise<Map<number, Example>> {
    const read = this.db.transaction("examples");
    const [keys, values] = await Promise.all([
      read.store.getAllKeys(),
      read.store.getAll(),
    ]);
    return new Map(
      values.map((value, place) => [keys[place] as number, value] as const),
    );
  }

  /** Keeps photos, all or none of them; returns their keys. */
  async addExamples(examples: readonly Example[]): Promise<number[]> {
    const write = this.db.transaction("examples", "readwrite");
    const keys = await Promise.all(
      examples.map((example) => write.store.add(example)),
    );
    await write.done;
    return keys;
  }

  async deleteExamples(keys: readonly number[]): Promise<void> {
    const write = this.db.transaction("examples", "readwrite");
    await Promise.all(keys.map((key) => write.store.delete(key)));
    await write.done;
  }

  async points(): Promise<Point[]> {
    return this.db.getAll("points");
  }

  /** A step that was taken: its point and the plan behind it, at once. */
  async stepTaken(point: Point, plan: Plan): Promise<void> {
    const write = this.db.transaction(["points", "settings"], "readwrite");
    await Promise.all([
      write.objectStore("points").add(point),
      write.objectStore("settings").put(plan, "plan"),
    ]);
    await write.done;
  }

  async clearPoints(): Promise<void> {
    await this.db.clear("points");
  }

  /** Forgets everything but the token. */
  async clear(): Promise<void> {
    const token = await this.get("token");
    await Promise.all([
      this.db.clear("settings"),
      this.db.clear("examples"),
      this.db.clear("points"),
    ]);
    if (token) await this.set("token", token);
  }

  close(): void {
    this.db.close();
  }
}
