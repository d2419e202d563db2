import type { InputShape } from "../images/model_input";
import { toModelInput } from "../images/model_input";
import type { Phone, StepResult } from "../phone/types";
import { Problem } from "../problem";
import type { Example } from "../store";
import { encodeLabels } from "./labels";
import type { Plan } from "./plan";
import { nextBatch } from "./plan";
import type { Task } from "./task";

/** Batches in a row whose numbers were not finite, before it gives up. */
const MOST_LEFT_OUT = 3;

/** What a trainer tells of each step that was taken, or left out. */
export interface Taken {
  readonly result: StepResult;
  /** With this step done. */
  readonly plan: Plan;
  /** Keys of the examples, in the order of the rows that were sent. */
  readonly keys: readonly number[];
}

/**
 * Goes through a plan, step by step, until it is over or asked to halt.
 *
 * It halts between steps, so that no step is ever half taken; what comes next
 * stands in the plan, and another trainer goes on from there.
 */
export class Trainer {
  private halting = false;

  /**
   * @param phone What takes the steps.
   * @param task Of the served model.
   * @param example Finds an example by its key.
   * @param taken Is awaited after each step, and keeps its plan.
   */
  constructor(
    private readonly phone: Pick<Phone, "step" | "nextStep">,
    private readonly task: Task,
    private readonly example: (key: number) => Example | undefined,
    private readonly taken: (step: Taken) => Promise<void>,
  ) {}

  /** Ends `run` after the step that is under way. */
  halt(): void {
    this.halting = true;
  }

  /**
   * @returns Whether the plan is done; false if it was halted.
   * @throws Whatever a step does; the plan is then at that step.
   */
  async run(plan: Plan): Promise<boolean> {
    const { task } = this;
    let current = plan;
    let leftOut = 0;
    for (;;) {
      const keys = nextBatch(current, task.batchSize);
      if (!keys) return true;
      if (this.halting) return false;
      const examples = keys.flatMap((key) => this.example(key) ?? []);
      const result = await this.phone.step(
        [stack(examples, task)],
        [
          encodeLabels(
            examples.map((each) => each.label),
            task,
          ),
        ],
        examples.length,
        { learningRate: plan.learningRate },
      );
      const { nextStep: phoneStep } = this.phone;
      current = { ...current, done: current.done + 1, phoneStep };
      await this.taken({ result, plan: current, keys });
      leftOut = result.taken ? 0 : leftOut + 1;
      if (leftOut === MOST_LEFT_OUT) throw tooLarge();
    }
  }
}

function tooLarge(): Problem {
  return new Problem(
    `The numbers of ${MOST_LEFT_OUT} steps in a row grew beyond all bounds, ` +
      "so none of them was taken.",
    "Stop here, and train again with a learning rate of a tenth.",
  );
}

/** Examples as one batch of inputs. */
export function stack(
  examples: readonly Pick<Example, "pixels">[],
  task: Pick<Task, "input" | "preprocess">,
): Float32Array {
  const size = sizeOf(task.input);
  const x = new Float32Array(examples.length * size);
  examples.forEach(({ pixels }, row) => {
    x.set(toModelInput(pixels, task.input, task.preprocess), row * size);
  });
  return x;
}

function sizeOf(shape: InputShape): number {
  return shape.height * shape.width * shape.channels;
}
