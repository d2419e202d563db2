import "fake-indexeddb/auto";
import { openDB } from "idb";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Album } from "../src/train/album";
import { forgetAll } from "../src/train/forget";
import { FAKE_DESCRIPTION, FakePhone } from "../src/train/phone/fake_phone";
import type { Shared } from "../src/train/phone/types";
import { PageStore } from "../src/train/store";
import { Run } from "../src/train/training/run";
import { taskOf } from "../src/train/training/task";

const TASK = taskOf(FAKE_DESCRIPTION);
let stores = 0;
let store: PageStore;
let album: Album;

beforeEach(async () => {
  stores += 1;
  store = await PageStore.open(`test-${stores}`);
  album = new Album(store, TASK);
  await album.restore();
});

afterEach(() => {
  store.close();
});

/** One photo, all of one gray. */
function photo(gray: number) {
  const values = new Uint8ClampedArray(24 * 24 * 3).fill(gray);
  return { values, height: 24, width: 24, channels: 3 };
}

async function fill(): Promise<void> {
  const dark = await album.addClass("dark");
  const light = await album.addClass("light");
  await album.add(
    dark,
    Array.from({ length: 9 }, (_, at) => photo(at)),
  );
  await album.add(
    light,
    Array.from({ length: 9 }, (_, at) => photo(255 - at)),
  );
}

test("classes have names of their own, and no more than the outputs", async () => {
  await fill();

  await expect(album.addClass(" Dark ")).rejects.toThrow(
    "a class Dark already",
  );
  await expect(album.addClass(" ")).rejects.toThrow("needs a name");
  await album.addClass("third");
  await album.addClass("fourth");
  expect(album.room.value).toBe(false);
  await expect(album.addClass("fifth")).rejects.toThrow("4 classes apart");
});

test("a class that goes leaves the numbers of the others alone", async () => {
  await fill();

  await album.removeClass(0);

  expect(album.classes.value).toEqual(["", "light"]);
  expect(album.filled.value).toEqual([1]);
  expect(await album.addClass("new")).toBe(0);
});

test("a training learns, and each step is a point", async () => {
  await fill();
  const run = new Run(store, new FakePhone(), album);

  await run.begin(12, 0.1);

  expect(run.points.value).toHaveLength(36);
  expect(run.points.value.at(-1)?.accuracy).toBe(1);
  expect(run.progress.value).toEqual({ done: 36, all: 36 });
  expect(run.waiting.value).toBe(false);
});

test("one class is nothing to tell apart", async () => {
  await album.add(await album.addClass("only"), [photo(1)]);
  const run = new Run(store, new FakePhone(), album);

  await expect(run.begin(1, 0.1)).rejects.toThrow("nothing to tell apart");
});

test("a step that fails is where the training goes on", async () => {
  await fill();
  const phone = new FakePhone();
  const run = new Run(store, phone, album);
  phone.failure = new Error("the connection broke");

  await expect(run.begin(2, 0.1)).rejects.toThrow("the connection broke");
  expect(run.waiting.value).toBe(true);
  await run.goOn();

  expect(phone.nextStep).toBe(6);
  expect(run.progress.value).toEqual({ done: 6, all: 6 });
});

test("a training that was paused goes on in another tab, step by step", async () => {
  await fill();
  const phone = new FakePhone();
  const first = new Run(store, phone, album);
  const begun = first.begin(4, 0.1);
  await new Promise((go) => setTimeout(go, 5));
  first.halt();
  await begun;
  const { done } = first.progress.value;
  phone.nextStep += 1; // one that the tab did not live to note

  const again = new Album(store, TASK);
  await again.restore();
  const second = new Run(store, phone, again);
  await second.restore();

  expect(second.progress.value.done).toBe(done + 1);
  expect(second.points.value).toHaveLength(done);
  await second.goOn();
  expect(second.progress.value).toEqual({ done: 12, all: 12 });
});

test("steps that are not finite are left out, and the training ends", async () => {
  await fill();
  const phone = new FakePhone();
  phone.poison = -1; // what a dark photo begins with
  const run = new Run(store, phone, album);
  await album.remove(album.keysOf(1));
  await album.add(1, [photo(0)]);
  await album.remove(album.keysOf(0).slice(1));

  await expect(run.begin(9, 0.1)).rejects.toThrow("beyond all bounds");

  expect(run.leftOut.value).toBe(3);
  expect(run.points.value).toHaveLength(0);
  expect(run.progress.value.done).toBe(3);
});

test("a plan goes on from a half that was loaded", async () => {
  await fill();
  const phone = new FakePhone();
  const run = new Run(store, phone, album);
  phone.failure = new Error("the connection broke");
  await run.begin(2, 0.1).catch(() => undefined);
  phone.nextStep = 90;

  await run.load(await phone.save());
  await run.goOn();

  expect(run.progress.value).toEqual({ done: 6, all: 6 });
});

test("in a cohort the plan counts epochs, whose steps others decide", async () => {
  await fill();
  const phone = Object.assign(new FakePhone(), {
    cohort: { mode: "merged", phones: 2, secure: false },
    asked: [] as Shared[],
    async together(shared: Shared): Promise<boolean> {
      phone.asked.push(shared);
      for (let epoch = 0; epoch < shared.epochs; epoch += 1) {
        for (let step = 0; step < 5; step += 1) {
          if (phone.asked.length === 1 && epoch === 1 && step === 2) {
            run.halt();
            if (shared.signal.aborted) return false;
          }
          const { x, y } = shared.take([step, step + 9]);
          await shared.onStep(await phone.step(x, y, 2), [step, step + 9]);
        }
        await shared.onEpoch();
      }
      return true;
    },
  });
  const run = new Run(store, phone, album);

  await run.begin(3, 0.1, 4);
  expect(run.progress.value).toEqual({ done: 5, all: 9 });
  expect(run.waiting.value).toBe(true);
  await run.goOn();

  expect(run.progress.value).toEqual({ done: 9, all: 9 });
  expect(phone.asked.map(({ epochs }) => epochs)).toEqual([3, 2]);
  expect(phone.asked.map(({ every }) => every)).toEqual([4, 4]);
  expect(run.points.value).toHaveLength(7 + 10);
});

test("all is forgotten but the token", async () => {
  store.close();
  store = await PageStore.open();
  album = new Album(store, TASK);
  await fill();
  await store.set("token", "mine");
  const other = await openDB("keras-split/abc", 1);
  other.close();

  await forgetAll(new FakePhone(), store);

  const names = (await indexedDB.databases()).map(({ name }) => name);
  expect(names).not.toContain("keras-split/abc");
  const again = await PageStore.open();
  expect(await again.get("token")).toBe("mine");
  expect(await again.examples()).toEqual(new Map());
  expect(await again.get("classes")).toBeUndefined();
});

test("a plan whose photos are gone is dropped", async () => {
  await fill();
  const phone = new FakePhone();
  phone.failure = new Error("the connection broke");
  await new Run(store, phone, album).begin(2, 0.1).catch(() => undefined);
  await album.removeClass(0);

  const run = new Run(store, phone, album);
  await run.restore();

  expect(run.plan.value).toBeNull();
});

test("a training asks the browser to keep what it stores", async () => {
  await fill();
  const persist = vi.fn(async () => true);
  vi.stubGlobal("navigator", { storage: { persist } });

  await new Run(store, new FakePhone(), album).begin(1, 0.1);

  expect(persist).toHaveBeenCalledOnce();
  vi.unstubAllGlobals();
});

test("a half from a file leaves the body of a cohort alone", async () => {
  const file = new Uint8Array(1);
  for (const cohort of [
    undefined,
    { mode: "merged", phones: 2, secure: true },
  ]) {
    const phone = Object.assign(new FakePhone(), { cohort });
    const load = vi.spyOn(phone, "load").mockResolvedValue();

    await new Run(store, phone, album).load(file);

    expect(load).toHaveBeenCalledWith(file, cohort === undefined);
  }
});
