/** How a phone trains one model with other phones. */
import { create } from "@bufbuild/protobuf";
import { type AveragingTerms, AveragingTermsSchema } from "../gen/split_pb.js";
import { OptionError } from "./errors.js";
import type { Batchnorm } from "./half_layout.js";

/**
 * How a phone trains one model with others, whose server has a cohort: beside
 * others like it, or Python's. All phones say the same.
 *
 * A .tflite updates its weights itself and gives no gradients, so weights are
 * averaged; where Keras clients are in the cohort and `every` is 1, they say
 * `what="weights"`.
 */
export interface FederatedAveraging {
  /** `"epoch"` (the default), or after how many steps halves are averaged. */
  readonly every?: "epoch" | number;
  /**
   * Config as JSON, as `OptimizerConfig.text` of Python has it, of a Keras
   * optimizer that the server applies to the averaged change.
   */
  readonly optimizer?: string;
  /** `"local"` for batch normalization that this phone keeps to itself. */
  readonly batchnorm?: Batchnorm;
  /** Whether to train only where the server adds up what it cannot read. */
  readonly requireSecure?: boolean;
}

/**
 * What the server is told.
 *
 * @throws OptionError If a value cannot be.
 */
export function termsOf(averaging: FederatedAveraging): AveragingTerms {
  const { every = "epoch", optimizer = "", batchnorm = "average" } = averaging;
  if (
    every !== "epoch" &&
    !(Number.isInteger(every) && every > 0 && every < 2 ** 32)
  ) {
    throw new OptionError(
      'Expected every to be "epoch" or a whole number of 1 or more. ' +
        `Received: ${every}.`,
    );
  }
  if (batchnorm !== "average" && batchnorm !== "local") {
    throw new OptionError(
      "Expected batchnorm to be one of average, local. Received: " +
        `${batchnorm}.`,
    );
  }
  return create(AveragingTermsSchema, {
    every: every === "epoch" ? 0 : every,
    what: "weights",
    batchnorm,
    optimizer,
  });
}
