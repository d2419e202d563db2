/** biome-ignore-all lint/a11y/noRedundantRoles: cards are no table to browsers */
import type { ComponentChildren } from "preact";
import type { Figures, Session } from "../figures";
import { address, bytes, duration, number, rate } from "../format";
import type { History } from "../history";
import { joinedWithCode } from "../revoke";
import { Cards } from "./cards";
import { Figure } from "./figure";
import { RevokeButton } from "./revoke_button";

const TITLES = [
  "Session",
  "On",
  "Client",
  "From",
  "Steps",
  "A second",
  "Sent us",
  "Got",
  "Last heard of",
  "Here",
] as const;

type Title = (typeof TITLES)[number];

/** Who trains. */
export function SessionsPanel({
  history,
  now,
  baseUrl,
  token,
}: {
  history: History;
  now: Figures;
  baseUrl: string;
  token: string;
}) {
  const several = now.replicas.length > 0;
  const titles = TITLES.filter((title) => several || title !== "On");
  const sessions = [...now.sessions].sort(
    (one, other) =>
      Number(other.connected) - Number(one.connected) ||
      one.label.localeCompare(other.label),
  );
  return (
    <section class="panel full" aria-labelledby="sessions">
      <h2 id="sessions">Sessions</h2>
      {sessions.length ? (
        <Cards titles={titles}>
          {sessions.map((one) => (
            <Row
              key={one.label}
              session={one}
              operator={{ baseUrl, token }}
              stepsPerS={history.stepsOf(one.label)}
              titles={titles}
            />
          ))}
        </Cards>
      ) : (
        <p>
          No phone is here.{" "}
          {several
            ? "Start"
            : "Make a code below and scan it with a phone, or start"}{" "}
          one in a terminal: <code>keras-split train</code>,{" "}
          <code>keras-split device</code>. It appears here at once.
        </p>
      )}
      <p class="hint">
        So far{" "}
        <Figure name="sessions_opened" value={now.opened}>
          {number(now.opened)}
        </Figure>{" "}
        opened,{" "}
        <Figure name="sessions_resumed" value={now.resumed}>
          {number(now.resumed)}
        </Figure>{" "}
        times resumed; ended: {ended(now)}.
      </p>
    </section>
  );
}

function Row({
  session,
  operator,
  stepsPerS,
  titles,
}: {
  session: Session;
  operator: { baseUrl: string; token: string };
  stepsPerS: number | null;
  titles: readonly Title[];
}) {
  const cells: Record<Title, ComponentChildren> = {
    Session: <code>{session.label}</code>,
    On: session.replica,
    Client: joinedWithCode(session.client) ? (
      <span>
        {session.client} <RevokeButton {...operator} client={session.client} />
      </span>
    ) : (
      session.client || "–"
    ),
    From: address(session.peer) || "–",
    Steps: (
      <Figure name={`steps of ${session.label}`} value={session.steps}>
        {number(session.steps)}
      </Figure>
    ),
    "A second": rate(stepsPerS),
    "Sent us": bytes(session.uplinkBytes),
    Got: bytes(session.downlinkBytes),
    "Last heard of": `${duration(session.idleS)} ago`,
    Here: session.connected ? "yes" : "away",
  };
  return (
    <tr role="row" class={session.connected ? "" : "away"}>
      {titles.map((title) => (
        <td key={title} role="cell" data-title={title}>
          {cells[title]}
        </td>
      ))}
    </tr>
  );
}

function ended(now: Figures): string {
  const found = Object.entries(now.closed).sort((a, b) => b[1] - a[1]);
  return (
    found.map(([why, many]) => `${why} ${number(many)}`).join(", ") || "none"
  );
}
