import type { Task } from "./task";

/**
 * Labels of a batch as the model's loss takes them.
 *
 * @param labels Class numbers, from 0.
 */
export function encodeLabels(
  labels: readonly number[],
  task: Task,
): Int32Array | Float32Array {
  switch (task.coding) {
    case "number":
      return Int32Array.from(labels);
    case "yes-or-no":
      return Float32Array.from(labels);
    case "one-hot":
    case "each": {
      const made = new Float32Array(labels.length * task.classes);
      labels.forEach((label, row) => {
        made[row * task.classes + label] = 1;
      });
      return made;
    }
  }
}

/**
 * How likely each class is, from one row of a prediction.
 *
 * client.json says only of a loss that it takes logits. Where it does not, a row
 * that cannot be probabilities (a value below 0 or above 1, and where one class
 * excludes the others a sum that is not 1) is of logits.
 *
 * @returns `task.classes` numbers; they sum to 1 where one class excludes the others.
 */
export function probabilities(row: Float32Array, task: Task): number[] {
  if (task.coding === "yes-or-no") {
    const value = row[0] ?? 0;
    const known = !task.fromLogits && value >= 0 && value <= 1;
    const yes = known ? value : 1 / (1 + Math.exp(-value));
    return [1 - yes, yes];
  }
  const values = Array.from(row);
  if (task.coding === "each") {
    const known = !task.fromLogits && values.every((v) => v >= 0 && v <= 1);
    return known ? values : values.map((v) => 1 / (1 + Math.exp(-v)));
  }
  const sum = values.reduce((total, value) => total + value, 0);
  const shares = Math.min(...values) >= 0 && Math.abs(sum - 1) < 1e-3;
  if (shares && !task.fromLogits) return values;
  const most = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - most));
  const total = powers.reduce((all, power) => all + power, 0);
  return powers.map((power) => power / total);
}
