/** What a phone keeps, in the browser's database. */
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import { StoreError, said } from "../errors.js";
import type { Changes, Store } from "./store.js";

interface Schema extends DBSchema {
  kept: { key: string; value: unknown };
}

const TABLE = "kept";
const LOCK_WAIT_MS = 5_000; // a tab that was killed lets go after a moment

/**
 * A database of its own in IndexedDB, for one tab at a time: two that trained
 * one half would take each other's steps.
 */
export class IndexedDbStore implements Store {
  private constructor(
    private readonly database: IDBPDatabase<Schema>,
    private readonly unlock: () => void,
  ) {}

  /**
   * @param name Of the database.
   * @throws StoreError If another tab has it, or the browser gives none.
   */
  static async open(name: string): Promise<IndexedDbStore> {
    const unlock = await lock(`keras-split/${name}`);
    try {
      const database = await openDB<Schema>(`keras-split/${name}`, 1, {
        upgrade: (made) => {
          made.createObjectStore(TABLE);
        },
      });
      return new IndexedDbStore(database, unlock);
    } catch (error) {
      unlock();
      throw wrong("a database of this page", error);
    }
  }

  async get(key: string): Promise<unknown> {
    try {
      return await this.database.get(TABLE, key);
    } catch (error) {
      throw wrong(`to read ${key}`, error);
    }
  }

  async keys(prefix: string): Promise<string[]> {
    const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
    try {
      return await this.database.getAllKeys(TABLE, range);
    } catch (error) {
      throw wrong(`to read ${prefix}`, error);
    }
  }

  async write({ put = new Map(), remove = [] }: Changes): Promise<void> {
    const transaction = this.#writing();
    const { done, store: table } = transaction;
    const requests: Promise<unknown>[] = [done];
    try {
      for (const key of remove) requests.push(table.delete(key));
      for (const [key, value] of put) requests.push(table.put(value, key));
      await Promise.all(requests);
    } catch (error) {
      // What was asked for before one was refused is taken back.
      for (const request of requests) request.catch(() => {});
      abort(transaction);
      throw wrong(`to write ${[...put.keys()].join(", ")}`, error);
    }
  }

  /** Strict: the server may be on the next step before a battery is empty. */
  #writing() {
    try {
      return this.database.transaction(TABLE, "readwrite", {
        durability: "strict",
      });
    } catch (error) {
      throw wrong("to write", error); // the browser has closed it
    }
  }

  async close(): Promise<void> {
    this.database.close();
    this.unlock();
  }
}

/** Waits for the right to a name; returns what gives it back. */
async function lock(name: string): Promise<() => void> {
  if (!globalThis.navigator?.locks) return () => {};
  const signal = AbortSignal.timeout(LOCK_WAIT_MS);
  return await new Promise((resolve, reject) => {
    navigator.locks
      .request(
        name,
        { signal },
        () => new Promise<void>((unlock) => resolve(unlock)),
      )
      .catch((error) =>
        reject(
          new StoreError(
            "Expected one tab that trains this half. Received: another that " +
              "has it open. Close that one, or go on there.",
            { cause: error },
          ),
        ),
      );
  });
}

/** Ends a transaction without a change. */
function abort(transaction: { abort(): void }): void {
  try {
    transaction.abort();
  } catch {
    // It has ended by itself.
  }
}

function wrong(what: string, error: unknown): StoreError {
  return new StoreError(
    `Expected ${what} in IndexedDB. Received: ${said(error)}. Make room on ` +
      "this device, and leave the private window if it is one; what was " +
      "written before is as it was.",
    { cause: error },
  );
}
