import { clock, duration } from "../format";
import type { Watch } from "../watch";
import { CohortPanel } from "./cohort";
import { InvitePanel } from "./invite";
import { Plot } from "./plot";
import { RefusalsPanel } from "./refusals";
import { ReplicasPanel } from "./replicas";
import { SessionsPanel } from "./sessions";
import { SignIn } from "./sign_in";
import { StepsPanel } from "./steps";
import { Tiles } from "./tiles";

/** The whole dashboard. */
export function App({ watch, baseUrl }: { watch: Watch; baseUrl: string }) {
  const state = watch.state.value;
  const history = watch.history.value;
  const now = history.last?.figures;
  if (state.kind === "locked")
    return <SignIn text={state.text} open={(token) => watch.open(token)} />;
  return (
    <>
      <header class="top bar-top">
        <h1>keras_split server</h1>
        <Badge watch={watch} />
        {watch.token && (
          <button type="button" class="quiet" onClick={() => watch.leave()}>
            Forget the token
          </button>
        )}
        {now && (
          <p class="model">
            Serves <code>{now.fingerprint.slice(0, 12)}</code>, cut at{" "}
            {now.cut.join(", ")}
            {now.inferenceOnly && "; it only predicts, and trains nothing"}.
          </p>
        )}
      </header>
      <main class={`board ${state.kind}`}>
        {state.kind === "stale" && (
          <div class="note problem full" role="alert">
            <strong>The server does not answer.</strong>{" "}
            {history.last
              ? `These figures are of ${clock(history.last.atMs)}. `
              : ""}
            It is asked again every few seconds. {state.text}
          </div>
        )}
        {now?.draining && (
          <div class="note full" role="status">
            <strong>The server is about to stop.</strong> Steps in flight are
            finished; no new session begins, and phones wait for it to come
            back.
          </div>
        )}
        {now ? (
          <>
            <Tiles now={now} rates={history.rates} />
            <Plot
              title="Steps a second"
              unit="steps"
              points={history.points}
              lines={[{ name: "steps", label: "steps", color: "--main" }]}
            />
            <Plot
              title="Bytes a second"
              unit="bytes"
              points={history.points}
              lines={[
                {
                  name: "uplinkBytes",
                  label: "from phones",
                  color: "--main",
                },
                {
                  name: "downlinkBytes",
                  label: "to phones",
                  color: "--loss",
                },
              ]}
            />
            {now.replicas.length > 0 && (
              <ReplicasPanel history={history} now={now} />
            )}
            <SessionsPanel
              history={history}
              now={now}
              baseUrl={baseUrl}
              token={watch.token}
            />
            {now.cohort && <CohortPanel cohort={now.cohort} />}
            {now.replicas.length === 0 && (
              <InvitePanel baseUrl={baseUrl} token={watch.token} />
            )}
            <StepsPanel history={history} now={now} />
            <RefusalsPanel now={now} />
          </>
        ) : (
          state.kind === "asking" && <p class="full">Asking the server …</p>
        )}
      </main>
      <footer>
        The same figures as <code>keras-split status</code> and Prometheus
        {now &&
          `, counted since the server started ${duration(now.uptimeS)} ago`}
        .
      </footer>
    </>
  );
}

/** In a word how it stands; told to who listens when it changes. */
function Badge({ watch }: { watch: Watch }) {
  const { kind } = watch.state.value;
  const draining = watch.history.value.last?.figures.draining;
  const word =
    kind === "live"
      ? draining
        ? "stopping"
        : "live"
      : kind === "stale"
        ? "no answer"
        : "asking";
  return (
    <span class={`badge ${kind}`} role="status">
      {word}
    </span>
  );
}
