import "fake-indexeddb/auto";
import { openDB } from "idb";
import { RefusedError } from "keras-split-client";
import { afterEach, expect, test, vi } from "vitest";
import { FAKE_DESCRIPTION, FakePhone } from "../src/train/phone/fake_phone";
import type { Phone } from "../src/train/phone/types";
import { PageStore } from "../src/train/store";
import { Visit } from "../src/train/visit";

const BASE = "http://localhost/";

/** A visit to a server whose phones are opened so. */
function visit(open: () => Promise<Phone>): Visit {
  return new Visit(BASE, () => ({
    describe: async () => FAKE_DESCRIPTION,
    open,
  }));
}

afterEach(() => {
  vi.restoreAllMocks();
});

test("a phone whose page cannot be brought back is closed", async () => {
  const phone = new FakePhone();
  const close = vi.spyOn(phone, "close");
  const broken = new Error("the disk is broken");
  vi.spyOn(PageStore.prototype, "points").mockRejectedValueOnce(broken);
  const subject = visit(async () => phone);

  await subject.open();

  expect(subject.problem.value).toBe(broken);
  expect(close).toHaveBeenCalledOnce();
});

test("a half that its server refuses can be given up, and photos stay", async () => {
  const store = await PageStore.open();
  const pixels = {
    values: new Uint8ClampedArray(3),
    ...{ height: 1, width: 1, channels: 3 },
  };
  await store.set("classes", ["cup"]);
  await store.addExamples([{ label: 0, name: "cup", pixels }]);
  (await openDB("keras-split/abc", 1)).close();
  const subject = visit(async () => {
    const halves = await indexedDB.databases();
    if (halves.some(({ name }) => name === "keras-split/abc")) {
      throw new RefusedError("It went back to an old checkpoint.", "order");
    }
    return new FakePhone();
  });
  await subject.open();
  expect(subject.problem.value).toBeInstanceOf(RefusedError);

  await subject.startAfresh();

  expect(subject.problem.value).toBeNull();
  expect(subject.ready.value?.album.examples.value.size).toBe(1);
});
