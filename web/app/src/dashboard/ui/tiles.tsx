import type { ComponentChildren } from "preact";
import type { Figures } from "../figures";
import { bytes, duration, number, rate } from "../format";
import type { Rates } from "../history";
import { Figure } from "./figure";

/** What one wants to see at a glance. */
export function Tiles({ now, rates }: { now: Figures; rates: Rates | null }) {
  const here = now.sessions.filter((one) => one.connected).length;
  return (
    <section class="full" aria-label="At a glance">
      <dl class="tiles">
        <Tile
          title="Phones connected"
          under={`${number(now.sessions.length)} sessions open`}
        >
          <Figure name="connections" value={here}>
            {number(here)}
          </Figure>
        </Tile>
        <Tile title="Steps" under={`${rate(rates?.steps ?? null)} a second`}>
          <Figure name="steps" value={now.steps}>
            {number(now.steps)}
          </Figure>
        </Tile>
        <Tile
          title="From phones"
          under={rates ? `${bytes(rates.uplinkBytes)} a second` : "– a second"}
        >
          <Figure name="uplink_bytes" value={now.uplinkBytes}>
            {bytes(now.uplinkBytes)}
          </Figure>
        </Tile>
        <Tile
          title="To phones"
          under={
            rates ? `${bytes(rates.downlinkBytes)} a second` : "– a second"
          }
        >
          <Figure name="downlink_bytes" value={now.downlinkBytes}>
            {bytes(now.downlinkBytes)}
          </Figure>
        </Tile>
        <Tile
          title="Last checkpoint"
          under={now.checkpointAgeS === null ? "" : "ago"}
        >
          <Figure name="checkpoint_age_s" value={now.checkpointAgeS}>
            {now.checkpointAgeS === null
              ? "none"
              : duration(now.checkpointAgeS)}
          </Figure>
        </Tile>
        <Tile title="Memory" under="in use">
          <Figure name="memory_bytes" value={now.memoryBytes}>
            {now.memoryBytes ? bytes(now.memoryBytes) : "?"}
          </Figure>
        </Tile>
        <Tile title="Up" under="since it started">
          <Figure name="uptime_s" value={now.uptimeS}>
            {duration(now.uptimeS)}
          </Figure>
        </Tile>
      </dl>
    </section>
  );
}

function Tile(props: {
  title: string;
  under: string;
  children: ComponentChildren;
}) {
  return (
    <div class="tile panel">
      <dt>{props.title}</dt>
      <dd>
        <strong>{props.children}</strong>
        <span class="hint">{props.under}</span>
      </dd>
    </div>
  );
}
