import type { Description, Phone, StepResult } from "./types";

/** What the fake phone's model is, as a client.json would say. */
export const FAKE_DESCRIPTION: Description = {
  mode: "train",
  batch_size: 8,
  contract: {
    fingerprint: "fa5ec0de",
    cut: ["first", "second"],
    smashed: [{ name: "first", shape: [12, 12, 3] }],
    quantization: { activations: { dtype: "int8" } },
  },
  inputs: [
    { name: "image", shape: [24, 24, 3], dtype: "float32", half: "head" },
  ],
  outputs: [
    {
      name: "class",
      shape: [4],
      loss: "sparse_categorical_crossentropy",
      label: { shape: [], dtype: "int32" },
    },
  ],
  optimizer: { name: "SGD", learning_rate: 0.1 },
  preprocess: {
    matrix: [
      [0.00784313725490196, 0, 0],
      [0, 0.00784313725490196, 0],
      [0, 0, 0.00784313725490196],
    ],
    offset: [-1, -1, -1],
  },
};

/**
 * A phone without a server: softmax regression on the pixels themselves.
 *
 * It learns, so that the page can be tried and tested; what it "sends" is
 * every second pixel.
 */
export class FakePhone implements Phone {
  readonly notice = "";
  readonly bytes = { up: 0, down: 0 };
  nextStep = 0;
  /** Throws at the next step, once: a connection that broke. */
  failure: Error | null = null;
  /** Rows of this value are not finite. */
  poison: number | null = null;
  private weights: Float32Array;
  private readonly size: number;

  constructor(
    readonly description: Description = FAKE_DESCRIPTION,
    private readonly delayMs = 0,
  ) {
    this.size = product(description.inputs[0]?.shape ?? []);
    this.weights = new Float32Array(this.size * this.classes);
  }

  async step(
    [x]: Float32Array[],
    [y]: (Int32Array | Float32Array)[],
    count: number,
    options: { learningRate?: number } = {},
  ): Promise<StepResult> {
    await new Promise((done) => setTimeout(done, this.delayMs));
    if (this.failure) {
      const failure = this.failure;
      this.failure = null;
      throw failure;
    }
    if (!x || !y) throw new Error("expected a batch");
    if (this.poison !== null && x[0] === this.poison) {
      return {
        step: this.nextStep,
        loss: Number.NaN,
        correct: [0],
        ms: { head: 4, link: 0, tail: 0, backward: 0 },
        bytes: { up: 0, down: 0 },
        smashed: [],
        taken: false,
      };
    }
    const rate = (options.learningRate ?? 0.1) / count / this.size;
    let loss = 0;
    let correct = 0;
    for (let row = 0; row < count; row += 1) {
      const shares = this.predict(x, row);
      const label = y[row] ?? 0;
      loss -= Math.log(Math.max(shares[label] ?? 0, 1e-7)) / count;
      if (shares.indexOf(Math.max(...shares)) === label) correct += 1;
      shares.forEach((share, unit) => {
        const error = share - (unit === label ? 1 : 0);
        for (let at = 0; at < this.size; at += 1) {
          const weight = unit * this.size + at;
          this.weights[weight] =
            (this.weights[weight] ?? 0) -
            10 * rate * error * (x[row * this.size + at] ?? 0);
        }
      });
    }
    this.bytes.up += 600 * count;
    this.bytes.down += 400 * count;
    this.nextStep += 1;
    return {
      step: this.nextStep - 1,
      loss,
      correct: [correct],
      ms: { head: 4, link: 9, tail: 2, backward: 7 },
      bytes: { up: 600 * count, down: 400 * count },
      smashed: [this.smash(x, count)],
      taken: true,
    };
  }

  async finish(): Promise<undefined> {}

  async infer([x]: Float32Array[], count: number): Promise<Float32Array[]> {
    if (!x) throw new Error("expected a batch");
    const rows = Array.from({ length: count }, (_, row) =>
      this.predict(x, row),
    );
    return [Float32Array.from(rows.flat())];
  }

  async save(): Promise<Uint8Array> {
    return new Uint8Array(this.weights.slice().buffer);
  }

  async load(file: Uint8Array): Promise<void> {
    if (file.byteLength !== this.weights.byteLength) {
      throw new Error("expected a state of this model");
    }
    this.weights = new Float32Array(file.slice().buffer);
  }

  async close(): Promise<void> {}

  private get classes(): number {
    return this.description.outputs[0]?.shape[0] ?? 0;
  }

  private predict(x: Float32Array, row: number): number[] {
    const powers = Array.from({ length: this.classes }, (_, unit) => {
      let sum = 0;
      for (let at = 0; at < this.size; at += 1) {
        sum +=
          (this.weights[unit * this.size + at] ?? 0) *
          (x[row * this.size + at] ?? 0);
      }
      return Math.exp(Math.min(sum, 50));
    });
    const total = powers.reduce((all, power) => all + power, 0);
    return powers.map((power) => power / total);
  }

  private smash(x: Float32Array, count: number): StepResult["smashed"][0] {
    const [height = 0, width = 0, channels = 0] =
      this.description.inputs[0]?.shape ?? [];
    const spec = this.description.contract.smashed[0];
    const [rows = 0, columns = 0] = spec?.shape ?? [];
    const codes = new Uint8Array(count * product(spec?.shape ?? []));
    let at = 0;
    for (let row = 0; row < count; row += 1) {
      for (let y = 0; y < rows; y += 1) {
        for (let column = 0; column < columns; column += 1) {
          for (let channel = 0; channel < channels; channel += 1) {
            const pixel = (row * height + 2 * y) * width + 2 * column;
            codes[at] = 127.5 * ((x[pixel * channels + channel] ?? 0) + 1);
            at += 1;
          }
        }
      }
    }
    return {
      name: spec?.name ?? "",
      shape: [count, ...(spec?.shape ?? [])],
      codes,
    };
  }
}

function product(shape: readonly number[]): number {
  return shape.reduce((size, side) => size * side, 1);
}
