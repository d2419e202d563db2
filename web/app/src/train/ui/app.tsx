import type { Ready, Visit } from "../visit";
import { AlbumSection } from "./album_section";
import { KeepSection } from "./keep_section";
import { LeavesSection } from "./leaves_section";
import { Opening } from "./opening";
import { TrainSection } from "./train_section";
import { TrySection } from "./try_section";

/** The whole page. */
export function App({ visit }: { readonly visit: Visit }) {
  const ready = visit.ready.value;
  const trouble = visit.link.trouble.value;
  return (
    <>
      <header class="top">
        <h1>Train a network with this phone</h1>
        <p>
          This phone has the first and the last layers of a network, the server
          those in between. Photos stay here.
        </p>
      </header>
      <p class="trouble" role="status">
        {trouble &&
          `The connection is lost. Trying again every ${Math.ceil(trouble.pauseS)} seconds; nothing is lost.`}
      </p>
      <main>{ready ? <Parts {...ready} /> : <Opening visit={visit} />}</main>
      <footer>
        <p>keras_split · nothing on this page comes from anywhere else</p>
      </footer>
    </>
  );
}

function Parts({ album, run, phone, store, description }: Ready) {
  const running = run.state.value !== "idle";
  return (
    <>
      {phone.notice && <p class="note wide">{phone.notice}</p>}
      <div class="column">
        <AlbumSection album={album} locked={running || run.waiting.value} />
      </div>
      <div class="column">
        <TrainSection album={album} run={run} phone={phone} />
        <TrySection album={album} phone={phone} />
        <LeavesSection
          album={album}
          run={run}
          phone={phone}
          description={description}
        />
        <KeepSection phone={phone} run={run} store={store} locked={running} />
      </div>
    </>
  );
}
