import type { Batchnorm } from "./half_layout.js";
import { HalfLayout } from "./half_layout.js";
import type { TrainingPhone } from "./phone.js";

/** Head and tail of a phone, as one vector. */
export interface Half {
  /** Numbers in it. */
  readonly size: number;
  /** SHA-256 of what they are, as hexadecimal digits. */
  readonly layout: string;
  /** Whether some of them are statistics of a batch normalization. */
  readonly statistics: boolean;
  /** A copy, shape `(size,)`. */
  get(): Promise<Float32Array>;
  /** Puts one back. */
  set(vector: Float32Array): Promise<void>;
}

/** That of a .tflite. Slots of its optimizer stay as they are. */
export async function halfOf(
  phone: TrainingPhone,
  batchnorm: Batchnorm,
): Promise<Half> {
  const layout = await HalfLayout.of(phone.description, batchnorm);
  return {
    size: layout.size,
    layout: layout.digest,
    statistics: layout.statistics,
    get: async () => layout.join(await phone.getState()),
    set: async (vector) =>
      phone.setState(layout.split(vector, await phone.getState())),
  };
}
