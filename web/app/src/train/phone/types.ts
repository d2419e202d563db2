/**
 * What the page needs of `keras-split-client`.
 *
 * The page never names the class: it is handed something of this shape, so
 * that a fake one can stand in where there is no server.
 */

/** Numbers of one tensor, flat in row-major order. */
export type Numbers = Float32Array | Int32Array | Uint8Array;

/** One tensor at a cut, as it travels. */
export interface CutTensor {
  readonly name: string;
  /** With the batch axis, before packing. */
  readonly shape: readonly number[];
  readonly codes: Numbers;
}

/** What one step was. */
export interface StepResult {
  readonly step: number;
  /** Before the step; NaN if it was not taken. */
  readonly loss: number;
  /** Right answers of each output, of the `count` rows. */
  readonly correct: readonly number[];
  readonly ms: {
    readonly head: number;
    /** There, the server's work, and back. */
    readonly link: number;
    readonly tail: number;
    readonly backward: number;
  };
  readonly bytes: { readonly up: number; readonly down: number };
  /** What was really sent of this batch. */
  readonly smashed: readonly CutTensor[];
  /** False if something in it was not finite: neither half has moved. */
  readonly taken: boolean;
}

/** Of the server's cohort, if its phones train one model. */
export interface CohortInfo {
  readonly mode: string;
  readonly phones: number;
  readonly secure: boolean;
}

/** A training as one of many phones. */
export interface Shared {
  /** Examples of this phone. */
  readonly count: number;
  readonly epochs: number;
  readonly learningRate: number;
  readonly seed: number;
  /** After how many steps halves are averaged; all phones say the same. */
  readonly every: number | "epoch";
  /** Ends it after the step that is under way. */
  readonly signal: AbortSignal;
  /** Inputs and labels of the examples at these places. */
  take(places: readonly number[]): {
    x: Float32Array[];
    y: (Int32Array | Float32Array)[];
  };
  onStep(result: StepResult, places: readonly number[]): Promise<void>;
  onEpoch(): Promise<void>;
  /** What went on without this phone. */
  onTrouble(words: string): void;
}

/** This phone's half and its session with the server. */
export interface Phone {
  /**
   * Number of the step that comes next, over all sessions. One that was
   * interrupted counts if it may have arrived: `finish` ends it.
   */
  readonly nextStep: number;
  readonly bytes: { readonly up: number; readonly down: number };
  /** What the server has to say about this phone's state; often empty. */
  readonly notice: string;
  readonly cohort?: CohortInfo | undefined;
  /** Trains one model with others; says whether it came to the end. */
  together?(shared: Shared): Promise<boolean>;
  step(
    x: Float32Array[],
    y: (Int32Array | Float32Array)[],
    count: number,
    options?: { sampleWeight?: Float32Array; learningRate?: number },
  ): Promise<StepResult>;
  finish(): Promise<StepResult | undefined>;
  infer(x: Float32Array[], count: number): Promise<Float32Array[]>;
  save(): Promise<Uint8Array>;
  load(file: Uint8Array, body?: boolean): Promise<void>;
  close(): Promise<void>;
}

/** What the page reads of client.json; it has more. */
export interface Description {
  readonly mode: string;
  readonly batch_size: number;
  readonly contract: {
    readonly fingerprint: string;
    readonly cut: readonly string[];
    readonly smashed: readonly TensorSpec[];
    readonly quantization: {
      readonly activations: { readonly dtype: string; readonly block?: number };
    };
  };
  readonly inputs: readonly (TensorSpec & {
    readonly dtype: string;
    readonly half: string;
  })[];
  readonly outputs: readonly (TensorSpec & {
    readonly loss?: string;
    readonly from_logits?: boolean;
    readonly label?: {
      readonly shape: readonly number[];
      readonly dtype: string;
    };
  })[];
  readonly optimizer: {
    readonly name: string;
    readonly learning_rate: number;
  } | null;
  readonly preprocess: Preprocess | null;
  readonly class_names?: readonly string[];
}

export interface TensorSpec {
  readonly name: string;
  /** Without the batch axis. */
  readonly shape: readonly number[];
}

/** A pixel row times `matrix`, plus `offset`, is what the model takes. */
export interface Preprocess {
  readonly matrix: readonly (readonly number[])[];
  readonly offset: readonly number[];
}
