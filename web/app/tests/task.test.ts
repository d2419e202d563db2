import { expect, test } from "vitest";
import { FAKE_DESCRIPTION } from "../src/train/phone/fake_phone";
import type { Description } from "../src/train/phone/types";
import { encodeLabels, probabilities } from "../src/train/training/labels";
import { taskOf } from "../src/train/training/task";

function described(loss: string, units: number, more = {}): Description {
  return {
    ...FAKE_DESCRIPTION,
    outputs: [{ name: "out", shape: [units], loss }],
    ...more,
  };
}

test("labels are what each loss takes", () => {
  const sparse = taskOf(described("sparse_categorical_crossentropy", 3));
  const onehot = taskOf(described("CategoricalCrossentropy", 3));
  const binary = taskOf(described("binary_crossentropy", 1));

  expect(encodeLabels([2, 0], sparse)).toEqual(Int32Array.from([2, 0]));
  expect(encodeLabels([2, 0], onehot)).toEqual(
    Float32Array.from([0, 0, 1, 1, 0, 0]),
  );
  expect(encodeLabels([1, 0], binary)).toEqual(Float32Array.from([1, 0]));
  expect(binary.classes).toBe(2);
});

test.each([
  ["only predicts", { mode: "infer" }],
  [
    "2 inputs",
    { inputs: [...FAKE_DESCRIPTION.inputs].concat(FAKE_DESCRIPTION.inputs) },
  ],
  [
    "does not take photos",
    { inputs: [{ name: "x", shape: [5], dtype: "float32", half: "head" }] },
  ],
  [
    "its loss is mean_squared_error",
    { outputs: [{ name: "y", shape: [1], loss: "mean_squared_error" }] },
  ],
  [
    "output has the shape 8×8×3",
    {
      outputs: [
        { name: "y", shape: [8, 8, 3], loss: "categorical_crossentropy" },
      ],
    },
  ],
])("a model that %s is refused in words", (words, more) => {
  expect(() => taskOf({ ...FAKE_DESCRIPTION, ...more })).toThrow(words);
});

test("names of the file are taken only if they are one for each output", () => {
  const few = described("sparse_categorical_crossentropy", 3, {
    class_names: ["a", "b"],
  });
  const all = { ...few, class_names: ["a", "b", "c"] };

  expect(taskOf(few).names).toEqual([]);
  expect(taskOf(all).names).toEqual(["a", "b", "c"]);
});

test("shares of a prediction sum to one, of probabilities and of logits", () => {
  const sparse = taskOf(described("sparse_categorical_crossentropy", 3));
  const binary = taskOf(described("binary_crossentropy", 1));

  const kept = probabilities(Float32Array.from([0.25, 0.25, 0.5]), sparse);
  const made = probabilities(Float32Array.from([-1, 4, 0]), sparse);

  expect(kept).toEqual([0.25, 0.25, 0.5]);
  expect(made.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1);
  expect(made[1]).toBeGreaterThan(0.9);
  expect(probabilities(Float32Array.from([0.25]), binary)).toEqual([
    0.75, 0.25,
  ]);
  expect(probabilities(Float32Array.from([-5]), binary)[0]).toBeGreaterThan(
    0.9,
  );
});

test("outputs that client.json calls logits are none even between 0 and 1", () => {
  const logits = (units: number, loss: string) =>
    taskOf({
      ...FAKE_DESCRIPTION,
      outputs: [{ name: "out", shape: [units], loss, from_logits: true }],
    });
  const binary = logits(1, "binary_crossentropy");
  const sparse = logits(3, "sparse_categorical_crossentropy");

  const [no = 1, yes = 0] = probabilities(Float32Array.from([0.25]), binary);
  const row = probabilities(Float32Array.from([0.25, 0.25, 0.5]), sparse);

  expect(yes).toBeCloseTo(1 / (1 + Math.exp(-0.25)));
  expect(no + yes).toBeCloseTo(1);
  expect(row[2]).toBeCloseTo(1 / (1 + 2 * Math.exp(-0.25)));
});

test("where several classes may hold each has a share of its own", () => {
  const loss = "binary_crossentropy";
  const outputs = [{ name: "out", shape: [3], loss, from_logits: true }];
  const shares = taskOf(described(loss, 3));
  const logits = taskOf({ ...FAKE_DESCRIPTION, outputs });

  expect(encodeLabels([2], shares)).toEqual(Float32Array.from([0, 0, 1]));
  expect(probabilities(Float32Array.from([0.75, 0.5, 0.5]), shares)).toEqual([
    0.75, 0.5, 0.5,
  ]);
  for (const task of [shares, logits]) {
    const [low = 1, even, high = 0] = probabilities(
      Float32Array.from([-4, 0, 4]),
      task,
    );
    expect(low).toBeCloseTo(1 / (1 + Math.exp(4)));
    expect(even).toBe(0.5);
    expect(high).toBeCloseTo(1 / (1 + Math.exp(-4)));
  }
  expect(probabilities(Float32Array.from([0.5, 0.5, 0.5]), logits)[0]).toBe(
    1 / (1 + Math.exp(-0.5)),
  );
});
