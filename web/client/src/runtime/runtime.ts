/** What runs the signatures of the phone's half. */
import type { ClientDescription } from "../description.js";
import { DataError } from "../errors.js";
import { dtypeOf, sameShape, type Tensors } from "../tensors.js";

/**
 * Runs the signatures of a .tflite, which share weights and optimizer slots:
 * LiteRT.js in a worker, in the page or in Node, or what stands in for it in a
 * test.
 */
export interface Runtime {
  /**
   * Loads a file, with the weights that stand in it.
   *
   * @throws RuntimeError If it cannot be loaded.
   */
  load(model: Uint8Array<ArrayBuffer>): Promise<void>;
  /**
   * Runs one signature.
   *
   * @param inputs Exactly what it takes, by name; they stay the caller's.
   * @returns What it gives, by name.
   * @throws RuntimeError If it cannot be run.
   */
  run(signature: string, inputs: Tensors): Promise<Tensors>;
  close(): Promise<void>;
}

/**
 * Of what is known by name, what a signature takes.
 *
 * @throws DataError If a tensor is missing, or of another shape or dtype.
 */
export function inputsOf(
  description: ClientDescription,
  signature: string,
  known: Tensors,
): Tensors {
  const wanted = description.signatures[signature];
  if (!wanted) {
    throw new DataError(
      `Expected a file with the signature ${signature}. Received: one with ` +
        `${Object.keys(description.signatures).join(", ")}. Export one that ` +
        "trains: client.export('client.tflite').",
    );
  }
  return Object.fromEntries(
    wanted.inputs.map(({ name, dtype, shape }) => {
      const given = known[name];
      if (
        given === undefined ||
        dtypeOf(given.data) !== dtype ||
        !sameShape(given.shape, shape)
      ) {
        const came = given
          ? `${dtypeOf(given.data)} of shape (${given.shape})`
          : "none";
        throw new DataError(
          `Expected ${name} for ${signature} as ${dtype} of shape ` +
            `(${shape}). Received: ${came}. Use the client.json that was ` +
            "exported with the .tflite.",
        );
      }
      return [name, given];
    }),
  );
}
