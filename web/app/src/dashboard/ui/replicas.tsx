/** biome-ignore-all lint/a11y/noRedundantRoles: cards are no table to browsers */
import type { ComponentChildren } from "preact";
import type { Figures, Replica } from "../figures";
import { bytes, duration, number, rate } from "../format";
import type { History } from "../history";
import { Cards } from "./cards";
import { Figure } from "./figure";

const TITLES = [
  "Replica",
  "Address",
  "Up",
  "Sessions",
  "Steps",
  "A second",
  "From phones",
  "To phones",
  "Memory",
  "Restarts",
] as const;

/** The processes that share the phones, each by itself. */
export function ReplicasPanel({
  history,
  now,
}: {
  history: History;
  now: Figures;
}) {
  return (
    <section class="panel full" aria-labelledby="replicas">
      <h2 id="replicas">Replicas</h2>
      <Cards titles={TITLES}>
        {now.replicas.map((one) => (
          <Row
            key={one.name}
            replica={one}
            sessions={sessionsOf(now, one)}
            stepsPerS={history.stepsOfReplica(one.name)}
          />
        ))}
      </Cards>
      <p class="hint">
        All other figures are those of all together. The front sends each phone
        to a replica. Browsers do not follow, so none trains here; with{" "}
        <code>--cohort merged --replicas N</code> they do.
        {now.averages > 0 && (
          <>
            {" "}
            The bodies of replicas became one{" "}
            <Figure name="averages" value={now.averages}>
              {number(now.averages)}
            </Figure>{" "}
            {now.averages === 1 ? "time" : "times"}.
          </>
        )}
      </p>
    </section>
  );
}

function Row({
  replica,
  sessions,
  stepsPerS,
}: {
  replica: Replica;
  sessions: number;
  stepsPerS: number | null;
}) {
  const { name, memoryBytes } = replica;
  const cells: Record<(typeof TITLES)[number], ComponentChildren> = {
    Replica: <b>{name}</b>,
    Address: replica.address || "–",
    Up: (
      <Figure name={`up of replica ${name}`} value={Number(replica.up)}>
        {replica.up ? "yes" : `no, silent for ${duration(replica.silentS)}`}
      </Figure>
    ),
    Sessions: number(sessions),
    Steps: (
      <Figure name={`steps of replica ${name}`} value={replica.steps}>
        {number(replica.steps)}
      </Figure>
    ),
    "A second": rate(stepsPerS),
    "From phones": bytes(replica.uplinkBytes),
    "To phones": bytes(replica.downlinkBytes),
    Memory: memoryBytes ? bytes(memoryBytes) : "?",
    Restarts: (
      <Figure name={`restarts of replica ${name}`} value={replica.restarts}>
        {number(replica.restarts)}
      </Figure>
    ),
  };
  return (
    <tr role="row" class={replica.up ? "" : "away"}>
      {TITLES.map((title) => (
        <td
          key={title}
          role="cell"
          data-title={title}
          class={title === "Up" && !replica.up ? "bad" : ""}
        >
          {cells[title]}
        </td>
      ))}
    </tr>
  );
}

function sessionsOf(now: Figures, { name }: Replica): number {
  return now.sessions.filter((one) => one.replica === name).length;
}
