import type { InputShape } from "../images/model_input";
import type { Description, Preprocess } from "../phone/types";
import { Problem } from "../problem";

/**
 * How the classes of an example become numbers.
 *
 * `"each"` is one-hot, but its loss asks of each class by itself: several may hold.
 */
type Coding = "number" | "one-hot" | "yes-or-no" | "each";

/** What a served model can learn from photos. */
export interface Task {
  readonly input: InputShape;
  readonly preprocess: Preprocess | null;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly coding: Coding;
  /** Whether client.json says that predictions are logits. */
  readonly fromLogits: boolean;
  /** Most classes that fit. */
  readonly classes: number;
  /** Names that the file gives its classes, in the order of their labels. */
  readonly names: readonly string[];
}

const ADVICE =
  "Ask whoever runs the server for a model that sorts photos into classes.";

/**
 * Reads from client.json what the page may ask of the model.
 *
 * @throws Problem If it is not a classifier of single images.
 */
export function taskOf(description: Description): Task {
  const { inputs, outputs, optimizer } = description;
  const [input] = inputs;
  const [output] = outputs;
  if (description.mode !== "train" || !optimizer) {
    throw new Problem("This server's model only predicts.", ADVICE);
  }
  if (!input || !output || inputs.length > 1 || outputs.length > 1) {
    throw new Problem(
      `This server's model has ${inputs.length} inputs and ` +
        `${outputs.length} outputs; this page trains those with one each.`,
      ADVICE,
    );
  }
  const [height, width, channels] = input.shape;
  if (
    input.shape.length !== 3 ||
    !height ||
    !width ||
    (channels !== 1 && channels !== 3)
  ) {
    throw new Problem(
      `This server's model does not take photos: its input has the shape ` +
        `${input.shape.join("×")}.`,
      ADVICE,
    );
  }
  const [units] = output.shape;
  const coding = codingOf(output.loss ?? "", units ?? 0);
  if (output.shape.length !== 1 || !units || !coding) {
    throw new Problem(
      "This server's model does not sort photos into classes: its loss is " +
        `${output.loss || "unknown"}, its output has the shape ` +
        `${output.shape.join("×") || "of one number"}.`,
      ADVICE,
    );
  }
  const classes = coding === "yes-or-no" ? 2 : units;
  const names = description.class_names ?? [];
  return {
    input: { height, width, channels },
    preprocess: description.preprocess,
    batchSize: description.batch_size,
    // It was float32: 0.1 is not to be shown as 0.10000000149.
    learningRate: Number(optimizer.learning_rate.toPrecision(6)),
    coding,
    fromLogits: output.from_logits ?? false,
    classes,
    names: names.length === classes ? names : [],
  };
}

function codingOf(loss: string, units: number): Coding | undefined {
  switch (loss.replaceAll("_", "").toLowerCase()) {
    case "sparsecategoricalcrossentropy":
      return "number";
    case "categoricalcrossentropy":
      return "one-hot";
    case "binarycrossentropy":
      return units === 1 ? "yes-or-no" : "each";
    default:
      return undefined;
  }
}
