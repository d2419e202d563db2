import { duration } from "../format";
import type { Costs, Part } from "../training/run";
import { PARTS } from "../training/run";

const WORDS: Record<Part, string> = {
  head: "Head, forward (this phone)",
  link: "Link and server",
  tail: "Tail (this phone)",
  backward: "Head, backward (this phone)",
};

/** Where the time of a step goes, on average. */
export function CostsTable({ costs }: { readonly costs: Costs }) {
  if (!costs.steps) return null;
  const mean = (part: Part) => costs.ms[part] / costs.steps;
  const all = PARTS.reduce((sum, part) => sum + mean(part), 0);
  return (
    <table class="costs">
      <caption>Time of a step, on average</caption>
      <thead class="unseen">
        <tr>
          <th scope="col">Part</th>
          <th scope="col">Time</th>
          <th scope="col">Share</th>
        </tr>
      </thead>
      <tbody>
        {PARTS.map((part) => (
          <tr key={part}>
            <th scope="row">{WORDS[part]}</th>
            <td>{duration(mean(part))}</td>
            <td class="share" aria-hidden="true">
              <span
                class="bar"
                style={{ width: `${(100 * mean(part)) / all}%` }}
              />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
