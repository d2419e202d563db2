import { describe, expect, test } from "vitest";
import { HalfLayout } from "../../src/cohort/half_layout.js";
import type { ClientDescription } from "../../src/description.js";
import { volume } from "../../src/tensors.js";
import { VECTORS } from "./vectors.js";

function described(of: (typeof VECTORS.layouts)[0]): ClientDescription {
  return { state: of.state, frozen: of.frozen } as unknown as ClientDescription;
}

describe.each(VECTORS.layouts)("a layout with batchnorm $batchnorm", (of) => {
  const state = new Map(
    of.state.map(({ name, shape }, i) => [
      name,
      new Float32Array(volume(shape)).map((_, j) => 100 * i + j),
    ]),
  );

  test("is that of Python", async () => {
    const layout = await HalfLayout.of(described(of), of.batchnorm);

    expect(layout.digest).toBe(of.digest);
    expect(layout.size).toBe(of.size);
    expect(layout.statistics).toBe(of.statistics);
  });

  test("joins and splits what it keeps, and leaves the rest", async () => {
    const layout = await HalfLayout.of(described(of), of.batchnorm);

    const vector = layout.join(state);
    const split = layout.split(vector.fill(-1), state);

    expect(layout.join(state)).not.toEqual(vector);
    for (const [name, numbers] of split) {
      const expected = of.kept.includes(name)
        ? new Float32Array(numbers.length).fill(-1)
        : state.get(name);
      expect(numbers).toEqual(expected);
    }
  });
});

test("a half of which nothing is trained is refused", async () => {
  const [of] = VECTORS.layouts as [(typeof VECTORS.layouts)[0]];
  const state = of.state.filter(({ kind }) => kind !== "weight");

  await expect(
    HalfLayout.of(described({ ...of, state }), "average"),
  ).rejects.toThrow("Expected weights in head or tail");
});
