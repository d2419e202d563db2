import "fake-indexeddb/auto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { StoreError } from "../src/errors.js";
import { FileStore } from "../src/node/file_store.js";
import { IndexedDbStore } from "../src/store/indexed_db.js";
import { MemoryStore, type Store } from "../src/store/store.js";

const folder = await mkdtemp(join(tmpdir(), "keras-split-"));
afterAll(() => rm(folder, { recursive: true }));
let names = 0;
const memory = new MemoryStore();

const KINDS: [string, (name: string) => Promise<Store>][] = [
  ["memory", async () => memory],
  ["IndexedDB", (name) => IndexedDbStore.open(name)],
  ["a folder", (name) => FileStore.open(join(folder, name))],
];

describe.each(KINDS)("%s", (_, open) => {
  test("keeps arrays, maps and bigints over its own end", async () => {
    const name = `n${names++}`;
    const value = { map: new Map([["w", new Float32Array([1, 2])]]), big: 3n };
    const store = await open(name);
    await store.write({ put: new Map([["half", value]]) });
    await store.close();

    const again = await open(name);

    expect(await again.get("half")).toEqual(value);
    expect(await again.get("none")).toBeUndefined();
    await again.close();
  });

  test("puts and removes at once, and lists in order", async () => {
    const store = await open(`n${names++}`);
    await store.write({
      put: new Map([
        ["log/2", 2],
        ["log/1", 1],
        ["x", 0],
      ]),
    });

    await store.write({ put: new Map([["log/3", 3]]), remove: ["log/1"] });

    expect(await store.keys("log/")).toEqual(["log/2", "log/3"]);
    await store.close();
  });

  test("a write that fails changes nothing", async () => {
    const store = await open(`n${names++}`);
    await store.write({ put: new Map([["a", 1]]) });

    const put = new Map<string, unknown>([
      ["a", 2],
      ["b", () => {}],
    ]);

    await expect(store.write({ put, remove: ["a"] })).rejects.toThrow();
    expect(await store.get("a")).toBe(1);
    expect(await store.keys("b")).toEqual([]);
    await store.close();
  });
});

test("files of a write that never ended are swept away", async () => {
  const store = await FileStore.open(join(folder, "crash"));
  await writeFile(join(folder, "crash", "half-written"), "x");

  await store.write({ put: new Map([["a", 1]]) });

  expect((await readdir(join(folder, "crash"))).length).toBe(2);
});

test("a folder that is a file is refused in our words", async () => {
  await writeFile(join(folder, "file"), "x");

  await expect(FileStore.open(join(folder, "file"))).rejects.toThrow(
    StoreError,
  );
});

test("a database that the browser has closed is told in our words", async () => {
  const store = await IndexedDbStore.open(`n${names++}`);
  await store.close(); // as a browser does that is to delete a page's data

  const write = store.write({ put: new Map([["half", 1]]) });

  await expect(write).rejects.toThrow(StoreError);
  await expect(store.get("half")).rejects.toThrow(StoreError);
});
