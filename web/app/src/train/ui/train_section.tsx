import { useSignal } from "@preact/signals";
import type { Album } from "../album";
import { bytes, counted, percent } from "../format";
import type { CohortInfo, Phone } from "../phone/types";
import { defaultEpochs } from "../training/plan";
import type { Run } from "../training/run";
import { CostsTable } from "./costs_table";
import { Icon } from "./icons";
import { Plot } from "./plot";
import { ProblemNote } from "./problem_note";
import { useAttempt } from "./use_attempt";

interface Props {
  readonly album: Album;
  readonly run: Run;
  readonly phone: Phone;
}

/** Second part: the training itself. */
export function TrainSection({ album, run, phone }: Props) {
  const { attempt, problem, dismiss } = useAttempt();
  const { batchSize, learningRate } = album.task;
  const photos = album.examples.value.size;
  const epochs = useSignal<number | null>(null);
  const rate = useSignal(learningRate);
  const every = useSignal(0);
  const wished = epochs.value ?? defaultEpochs(photos, batchSize);
  const running = run.state.value !== "idle";
  const waiting = run.waiting.value;
  const enough = album.filled.value.length >= 2;
  const { done, all } = run.progress.value;

  const begin = (event: SubmitEvent) => {
    event.preventDefault();
    attempt(() => run.begin(wished, rate.value, every.value));
  };

  return (
    <section class="panel" aria-labelledby="train">
      <h2 id="train">
        <span class="number">2</span> Train
      </h2>
      {phone.cohort && <CohortNote cohort={phone.cohort} run={run} />}
      {!running && !waiting && (
        <form class="settings" onSubmit={begin}>
          <label>
            Epochs
            <input
              type="number"
              min={1}
              max={1000}
              required
              value={wished}
              onInput={(event) => {
                epochs.value = event.currentTarget.valueAsNumber || null;
              }}
            />
          </label>
          <label>
            Learning rate
            <input
              type="number"
              min={0}
              max={1000}
              step="any"
              required
              value={rate.value}
              onInput={(event) => {
                rate.value = event.currentTarget.valueAsNumber;
              }}
            />
          </label>
          {phone.cohort && (
            <label class="every">
              Steps between two averages (0: once an epoch)
              <input
                type="number"
                min={0}
                required
                value={every.value}
                onInput={(event) => {
                  every.value = event.currentTarget.valueAsNumber || 0;
                }}
              />
            </label>
          )}
          <button type="submit" class="main" disabled={!enough}>
            <Icon name="play" />
            {run.points.value.length ? "Train more" : "Train"}
          </button>
          {!enough && (
            <p class="hint">Two classes with photos are needed first.</p>
          )}
        </form>
      )}
      {running && (
        <div class="buttons">
          <button
            type="button"
            class="main"
            disabled={run.state.value === "halting"}
            onClick={() => run.halt()}
          >
            <Icon name="pause" />
            {run.state.value === "halting" ? "Ending this step …" : "Pause"}
          </button>
        </div>
      )}
      {waiting && (
        <div class="buttons">
          <button
            type="button"
            class="main"
            onClick={() => attempt(() => run.goOn())}
          >
            <Icon name="play" />
            Go on
          </button>
          <button
            type="button"
            class="second"
            onClick={() => attempt(() => run.drop())}
          >
            Stop here
          </button>
        </div>
      )}
      <ProblemNote problem={problem.value} onDismiss={dismiss} />
      {all > 0 && (
        <div class="progress">
          <label for="progress">{state(running, waiting, done, all)}</label>
          <progress id="progress" value={done} max={all} />
        </div>
      )}
      <p class="unseen" role="status">
        {all > 0 && milestone(run, done, all)}
      </p>
      {run.points.value.length > 0 && (
        <>
          <Figures run={run} />
          {run.leftOut.value > 0 && (
            <p class="hint">
              {counted(run.leftOut.value, "batch was", "batches were")} left
              out: numbers in it were not finite.
            </p>
          )}
          <Plot points={run.points.value} />
          <CostsTable costs={run.costs.value} />
        </>
      )}
    </section>
  );
}

/** That others train the same model, and what this phone missed of it. */
function CohortNote({
  cohort,
  run,
}: {
  readonly cohort: CohortInfo;
  readonly run: Run;
}) {
  return (
    <div class="note">
      <p>
        <strong>One model of {counted(cohort.phones, "phone")}.</strong> The
        server's part learns from all of them, and the parts on the phones are
        averaged
        {cohort.secure ? "; the server cannot read a single one" : ""}. It
        begins when all are here, and each waits for the slowest. All choose the
        same number of steps between two averages.
      </p>
      <p role="status">{run.missed.value}</p>
    </div>
  );
}

/** The last step in numbers. */
function Figures({ run }: { readonly run: Run }) {
  const last = run.points.value.at(-1);
  const { up, down } = run.bytes.value;
  return (
    <dl class="figures">
      <div>
        <dt>Loss</dt>
        <dd>{last?.loss.toFixed(3)}</dd>
      </div>
      <div>
        <dt>Right in the last batch</dt>
        <dd>{percent(last?.accuracy ?? 0)}</dd>
      </div>
      <div>
        <dt>Sent</dt>
        <dd>{bytes(up)}</dd>
      </div>
      <div>
        <dt>Received</dt>
        <dd>{bytes(down)}</dd>
      </div>
    </dl>
  );
}

function state(
  running: boolean,
  waiting: boolean,
  done: number,
  all: number,
): string {
  if (running) return `Step ${done} of ${all}`;
  if (waiting) return `Paused after step ${done} of ${all}`;
  return `Trained: ${all} steps`;
}

/** What a screen reader says: each quarter, not each step. */
function milestone(run: Run, done: number, all: number): string {
  const quarter = Math.floor((4 * done) / all);
  if (!quarter) return "";
  const at = run.points.value.at(-1);
  const where = quarter === 4 ? "Training done" : `${25 * quarter} % trained`;
  return quarter === 4 && at
    ? `${where}: ${percent(at.accuracy)} right in the last batch.`
    : `${where}.`;
}
