import type { Figures } from "../figures";
import { brief, number } from "../format";
import type { History } from "../history";
import { count, meanS, since, type Times, withinS } from "../times";
import { Figure } from "./figure";

const ROWS = [
  ["queueTimes", "queue_times", "A step waits for its turn"],
  ["computeTimes", "compute_times", "and computes"],
  ["checkpointTimes", "checkpoint_times", "A checkpoint is written in"],
] as const;

/** How long the server takes. */
export function StepsPanel({
  history,
  now,
}: {
  history: History;
  now: Figures;
}) {
  const before = history.before?.figures;
  return (
    <section class="panel" aria-labelledby="times">
      <h2 id="times">How long it takes</h2>
      <table>
        <thead>
          <tr>
            <td />
            <th scope="col">Last 30 s</th>
            <th scope="col">On average</th>
            <th scope="col">95% within</th>
            <th scope="col">Times</th>
          </tr>
        </thead>
        <tbody>
          {ROWS.map(([ours, name, words]) => (
            <Row
              key={name}
              name={name}
              words={words}
              times={now[ours]}
              before={before?.[ours]}
            />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Row(props: {
  name: string;
  words: string;
  times: Times;
  before: Times | undefined;
}) {
  const { name, times, before } = props;
  const lately = before ? meanS(since(times, before)) : null;
  return (
    <tr>
      <th scope="row">{props.words}</th>
      <td>{brief(lately)}</td>
      <td>
        <Figure name={`${name}.mean_s`} value={meanS(times)}>
          {brief(meanS(times))}
        </Figure>
      </td>
      <td>
        <Figure name={`${name}.within_s`} value={withinS(times, 0.95)}>
          {brief(withinS(times, 0.95))}
        </Figure>
      </td>
      <td>
        <Figure name={`${name}.count`} value={count(times)}>
          {number(count(times))}
        </Figure>
      </td>
    </tr>
  );
}
