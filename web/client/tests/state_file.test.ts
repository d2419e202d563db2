import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { ClientDescription } from "../src/description.js";
import { DataError } from "../src/errors.js";
import { readState, writeState } from "../src/state_file.js";

const SESSION = new URL("../../../docs/assets/session/", import.meta.url);
const DESCRIPTION: ClientDescription = JSON.parse(
  readFileSync(new URL("client.json", SESSION), "utf8"),
);
/** NumPy wrote it with `savez`, as keras_split.device does. */
const FILE = new Uint8Array(
  readFileSync(new URL("state.npz", import.meta.url)),
);

test("what NumPy wrote is read, and written so that it is the same", () => {
  const state = readState(FILE, DESCRIPTION);

  expect(state.step).toBe(7);
  expect(state.tag).toBe("");
  expect(state.moment).toEqual({ run: "ab".repeat(16), steps: 9 });
  for (const { data } of state.arrays.values()) {
    expect([...data]).toEqual([...data.keys()]);
  }
  const written = writeState(state, DESCRIPTION);
  expect(readState(written, DESCRIPTION)).toEqual(state);
});

test.each([
  ["another model", { contract: { fingerprint: "f00d" } }, "fingerprint"],
  ["other frozen weights", { frozen: "ice" }, "frozen"],
  ["other tensors", { state: [] }, "none"],
])("a state of %s is refused", (_, other, words) => {
  const description = { ...DESCRIPTION, ...other } as ClientDescription;

  expect(() => readState(FILE, description)).toThrow(words);
});

test.each([
  ["nothing", new Uint8Array()],
  ["half of it", FILE.subarray(0, FILE.length / 2)],
  ["something else", new Uint8Array(1000).fill(7)],
])("%s is refused in our words", (_, file) => {
  expect(() => readState(file, DESCRIPTION)).toThrow(DataError);
});
