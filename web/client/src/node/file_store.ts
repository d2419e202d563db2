/** What a phone keeps, in a folder. */
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import { StoreError, said } from "../errors.js";
import type { Changes, Store } from "../store/store.js";

const INDEX = "index.json";

/**
 * A folder with a file for each value, for one process at a time. Which file
 * is of which key says an index, and a write is over when that is renamed.
 */
export class FileStore implements Store {
  #number = 0;

  private constructor(
    private readonly folder: string,
    private index: Readonly<Record<string, string>>,
  ) {}

  /** @throws StoreError If the folder cannot be made or read. */
  static async open(folder: string): Promise<FileStore> {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const files = await readdir(folder);
      const index = files.includes(INDEX)
        ? JSON.parse(await readFile(join(folder, INDEX), "utf8"))
        : {};
      return new FileStore(folder, index);
    } catch (error) {
      throw wrong(folder, error);
    }
  }

  async get(key: string): Promise<unknown> {
    const file = this.index[key];
    if (file === undefined) return undefined;
    try {
      return deserialize(await readFile(join(this.folder, file)));
    } catch (error) {
      throw wrong(this.folder, error);
    }
  }

  async keys(prefix: string): Promise<string[]> {
    return Object.keys(this.index)
      .filter((key) => key.startsWith(prefix))
      .sort();
  }

  async write({ put = new Map(), remove = [] }: Changes): Promise<void> {
    const next = { ...this.index };
    for (const key of remove) delete next[key];
    try {
      for (const [key, value] of put) {
        // Never a name of now: a reader after a crash finds what was.
        const name = `${process.pid}-${Date.now()}-${this.#number++}`;
        await this.#writeFile(name, serialize(value));
        next[key] = name;
      }
      await this.#writeFile(`${INDEX}.partial`, JSON.stringify(next));
      await rename(
        join(this.folder, `${INDEX}.partial`),
        join(this.folder, INDEX),
      );
    } catch (error) {
      throw wrong(this.folder, error);
    }
    this.index = next;
    await this.#sweep();
  }

  async close(): Promise<void> {}

  async #writeFile(name: string, content: string | Uint8Array): Promise<void> {
    const file = await open(join(this.folder, name), "w", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Removes what no key has any more. */
  async #sweep(): Promise<void> {
    const wanted = new Set([INDEX, ...Object.values(this.index)]);
    for (const file of await readdir(this.folder)) {
      if (!wanted.has(file)) await rm(join(this.folder, file), { force: true });
    }
  }
}

function wrong(folder: string, error: unknown): StoreError {
  return new StoreError(
    `Expected to read and write ${folder}. Received: ${said(error)}. Look at ` +
      "the folder and at the free space; what was written before is as it was.",
    { cause: error },
  );
}
