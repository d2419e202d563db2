/** Where a phone keeps its half, so that a closed tab goes on. */

/** What one write changes: all of it, or nothing. */
export interface Changes {
  /** Values by key; anything that can be cloned structurally. */
  readonly put?: ReadonlyMap<string, unknown>;
  readonly remove?: readonly string[];
}

/** Keys and values. Keys of steps sort in the order of their numbers. */
export interface Store {
  /** @throws StoreError If it cannot be read. */
  get(key: string): Promise<unknown>;
  /** Keys that begin so, in order. */
  keys(prefix: string): Promise<string[]>;
  /**
   * Writes at once: whoever reads after a crash finds all changes or none.
   *
   * @throws StoreError If it cannot be written; nothing has changed.
   */
  write(changes: Changes): Promise<void>;
  close(): Promise<void>;
}

/** A store that lives as long as its object. */
export class MemoryStore implements Store {
  readonly #values = new Map<string, unknown>();

  async get(key: string): Promise<unknown> {
    return structuredClone(this.#values.get(key));
  }

  async keys(prefix: string): Promise<string[]> {
    const keys = [...this.#values.keys()];
    return keys.filter((key) => key.startsWith(prefix)).sort();
  }

  async write({ put = new Map(), remove = [] }: Changes): Promise<void> {
    const cloned = structuredClone(new Map(put));
    for (const key of remove) this.#values.delete(key);
    for (const [key, value] of cloned) this.#values.set(key, value);
  }

  async close(): Promise<void> {}
}
