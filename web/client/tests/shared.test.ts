/** Inputs that the server gets: packed in the file, cut and checked here. */
import { expect, test } from "vitest";
import { batchOf } from "../src/batch.js";
import type { ClientDescription, SharedSpec } from "../src/description.js";
import { DataError } from "../src/errors.js";
import { RowPadder } from "../src/rows.js";
import { DESCRIPTION, ROWS } from "./small_phone.js";

const MASK: SharedSpec = {
  name: "mask",
  shape: [10],
  dtype: "int32",
  packing: "bits",
};

function padder(shared: readonly SharedSpec[]): RowPadder {
  const { smashed, quantization } = DESCRIPTION.contract;
  const rule = quantization.activations;
  return new RowPadder("smashed", smashed, rule, new Map(), shared);
}

test("a shared input leaves behind the smashed data, for real rows alone", () => {
  const made = {
    smashed_0_codes: { data: new Float32Array(2 * ROWS), shape: [ROWS, 2] },
    shared_0_codes: { data: Uint8Array.of(3, 1, 7, 0, 3, 1), shape: [ROWS, 2] },
  };

  const tensors = padder([MASK]).leave(made, 2);

  expect(tensors.map(({ name }) => name)).toEqual(["a", "mask"]);
  expect(tensors[1]).toEqual({
    name: "mask",
    shape: [2, 10],
    codes: Uint8Array.of(3, 1, 7, 0),
    codesShape: [2, 2],
  });
  expect(padder([]).leave(made, 2).length).toBe(1);
});

test.each([
  ["bits", 2, true],
  ["bits", 1, false],
  ["int8", 128, true],
  ["int32", 128, false],
])("as %s, %d is refused: %s", (packing, number, refused) => {
  const contract = { ...DESCRIPTION.contract, shared: [{ ...MASK, packing }] };
  const inputs = [{ ...MASK, half: "head" as const }];
  const description: ClientDescription = { ...DESCRIPTION, contract, inputs };
  const x = new Int32Array(10);
  x[7] = number;

  const make = () => batchOf(description, [x], 1);

  if (refused) expect(make).toThrow(DataError);
  else expect(make().count).toBe(1);
});
