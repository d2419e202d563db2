import type { Cohort, Round } from "../figures";
import { brief, number } from "../format";
import { meanS } from "../times";
import { Figure } from "./figure";

/** The phones that train one model, and their last rounds. */
export function CohortPanel({ cohort }: { cohort: Cohort }) {
  const here = [...cohort.present];
  return (
    <section class="panel full" aria-labelledby="cohort">
      <h2 id="cohort">Many phones, one model</h2>
      <p>
        Mode <b>{cohort.mode}</b>,{" "}
        <Figure name="phones" value={here.length}>
          {here.length}
        </Figure>{" "}
        of {cohort.phones} phones here
        {here.length > 0 && (
          <>
            :{" "}
            {here.map(([member, label], index) => (
              <span key={member}>
                {index > 0 && ", "}
                {member} (<code>{label}</code>)
              </span>
            ))}
          </>
        )}
        . {cohort.secure ? "Halves are added up under masks." : ""}
      </p>
      <dl class="facts">
        <Fact
          title="Merged steps"
          name="cohort.steps"
          value={cohort.steps}
          mean={meanS(cohort.stepTimes)}
        />
        <Fact
          title="Rounds"
          name="cohort.rounds"
          value={cohort.rounds}
          mean={meanS(cohort.roundTimes)}
        />
        <Fact
          title="Phones left out"
          name="cohort.left_out"
          value={cohort.leftOut}
          mean={null}
        />
      </dl>
      {cohort.recent.length > 0 && (
        <section
          class="scrolls"
          aria-label="The last rounds and merged steps"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls.
          tabIndex={0}
        >
          <table>
            <thead>
              <tr>
                <th scope="col">The last of them</th>
                <th scope="col">Took</th>
                <th scope="col">Phones in it</th>
                <th scope="col">Left out</th>
              </tr>
            </thead>
            <tbody>
              {cohort.recent.map((one) => (
                <RoundRow key={`${one.merged} ${one.number}`} round={one} />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}

function RoundRow({ round }: { round: Round }) {
  return (
    <tr>
      <th scope="row">
        {round.merged ? "step" : "round"} {number(round.number)}
      </th>
      <td>{brief(round.seconds)}</td>
      <td>{round.members.join(", ")}</td>
      <td class={round.dropped.length ? "bad" : ""}>
        {round.dropped.join(", ") || "nobody"}
      </td>
    </tr>
  );
}

function Fact(props: {
  title: string;
  name: string;
  value: number;
  mean: number | null;
}) {
  return (
    <div>
      <dt>{props.title}</dt>
      <dd>
        <Figure name={props.name} value={props.value}>
          {number(props.value)}
        </Figure>
        {props.mean !== null && `, ${brief(props.mean)} each`}
      </dd>
    </div>
  );
}
