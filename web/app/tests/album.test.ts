import "fake-indexeddb/auto";
import { expect, test } from "vitest";
import { Album } from "../src/train/album";
import { FAKE_DESCRIPTION } from "../src/train/phone/fake_phone";
import { PageStore } from "../src/train/store";
import { type Task, taskOf } from "../src/train/training/task";

const TASK = taskOf(FAKE_DESCRIPTION);
let stores = 0;

/** What a page shows of a store, with a model whose classes have names. */
async function opened(
  store: PageStore,
  ...names: readonly string[]
): Promise<Album> {
  const task: Task = { ...TASK, names };
  const album = new Album(store, task);
  await album.restore();
  return album;
}

function kept(): Promise<PageStore> {
  stores += 1;
  return PageStore.open(`album-${stores}`);
}

/** One photo, all of one gray. */
function photo(gray: number) {
  const values = new Uint8ClampedArray(24 * 24 * 3).fill(gray);
  return { values, height: 24, width: 24, channels: 3 };
}

function counts(album: Album): Record<string, number> {
  return Object.fromEntries(
    album.classes.value.map((name, label) => [
      name,
      album.keysOf(label).length,
    ]),
  );
}

test("photos stay with the name of their class when models number it otherwise", async () => {
  const store = await kept();
  const one = await opened(store, "cat", "dog", "fox", "owl");
  await one.add(1, [photo(1), photo(2)]);
  await one.add(3, [photo(3)]);

  const other = await opened(store, "dog", "cup", "hat", "shoe");
  const again = await opened(store, "cat", "dog", "fox", "owl");

  expect(counts(other)).toEqual({ dog: 2, cup: 0, hat: 0, shoe: 0 });
  expect(counts(again)).toEqual({ cat: 0, dog: 2, fox: 0, owl: 1 });
});

test("a class of one's own gets no photos of another model's", async () => {
  const store = await kept();
  const one = await opened(store, "cat", "dog", "fox", "owl");
  await one.add(0, [photo(1)]);

  const own = await opened(store);
  await own.add(await own.addClass("cup"), [photo(2)]);

  expect(counts(await opened(store))).toEqual({ cup: 1 });
});

test("photos of a class that was taken away go into no other", async () => {
  const store = await kept();
  const album = await opened(store);
  const label = await album.addClass("cup");
  await album.removeClass(label);
  expect(await album.addClass("shoe")).toBe(label);

  const late = album.add(label, [photo(1)], "cup");

  await expect(late).rejects.toThrow("was taken away");
  expect(counts(await opened(store))).toEqual({ shoe: 0 });
});

test("a class that goes while a photo is written takes it along", async () => {
  const store = await kept();
  const album = await opened(store);
  const label = await album.addClass("cup");

  await Promise.allSettled([
    album.add(label, [photo(1)]),
    album.removeClass(label),
  ]);

  expect(album.filled.value).toEqual([]);
  expect(await store.examples()).toEqual(new Map());
});
