import type { Figures } from "../figures";
import { number } from "../format";
import { Figure } from "./figure";

/** What was refused, and why. */
export function RefusalsPanel({ now }: { now: Figures }) {
  const found = Object.entries(now.refusals).sort(
    (one, other) => other[1] - one[1] || one[0].localeCompare(other[0]),
  );
  return (
    <section class="panel" aria-labelledby="refusals">
      <h2 id="refusals">Messages refused</h2>
      {found.length ? (
        <table>
          <thead>
            <tr>
              <th scope="col">Reason</th>
              <th scope="col">Times</th>
            </tr>
          </thead>
          <tbody>
            {found.map(([reason, many]) => (
              <tr key={reason}>
                <th scope="row">
                  <code>{reason}</code>
                </th>
                <td>
                  <Figure name={`refusals.${reason}`} value={many}>
                    {number(many)}
                  </Figure>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <p class="hint">None.</p>
      )}
    </section>
  );
}
