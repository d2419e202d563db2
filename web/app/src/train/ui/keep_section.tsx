import { useSignal } from "@preact/signals";
import { forgetAll } from "../forget";
import type { Phone } from "../phone/types";
import type { PageStore } from "../store";
import type { Run } from "../training/run";
import { Icon } from "./icons";
import { ProblemNote } from "./problem_note";
import { useAttempt } from "./use_attempt";

interface Props {
  readonly phone: Phone;
  readonly run: Run;
  readonly store: PageStore;
  readonly locked: boolean;
}

/** Saving and loading this phone's half of the network. */
export function KeepSection({ phone, run, store, locked }: Props) {
  const { attempt, problem, busy, dismiss } = useAttempt();
  const said = useSignal("");

  const save = () =>
    attempt(async () => {
      const file = await phone.save();
      download(file, `phone-step-${phone.nextStep}.npz`);
      said.value = "Saved.";
    });

  const load = (file: File) =>
    attempt(async () => {
      await run.load(new Uint8Array(await file.arrayBuffer()));
      said.value = `Loaded ${file.name}.`;
    });

  const forget = () => {
    const sure = confirm(
      "Delete all photos, names and what this phone has learned?",
    );
    if (!sure) return;
    attempt(async () => {
      await forgetAll(phone, store);
      location.reload();
    });
  };

  return (
    <section class="panel" aria-labelledby="keep">
      <h2 id="keep">Kept on this phone</h2>
      <p>
        Photos, names and this phone's half of the network stay in the browser
        when the tab is closed: open the page again and go on. The half can also
        be saved as a file; keras_split reads it in Python, too.
      </p>
      {phone.cohort && (
        <p class="hint">
          A half that is loaded here is for trying it: the next training begins
          with the half of all phones, and the server's part stays as it is.
        </p>
      )}
      <div class="buttons">
        <button
          type="button"
          class="second"
          disabled={busy.value || locked}
          onClick={save}
        >
          Save this phone's half
        </button>
        <label class={`button second ${locked ? "disabled" : ""}`}>
          Load a half
          <input
            type="file"
            aria-label="Load a half"
            class="unseen"
            accept=".npz"
            disabled={locked}
            onChange={(event) => {
              const { currentTarget } = event;
              const [file] = currentTarget.files ?? [];
              if (file) {
                load(file).finally(() => {
                  currentTarget.value = "";
                });
              }
            }}
          />
        </label>
      </div>
      <div class="buttons">
        <button
          type="button"
          class="quiet"
          disabled={busy.value || locked}
          onClick={forget}
        >
          <Icon name="bin" />
          Delete all and start afresh
        </button>
      </div>
      <p role="status">{said.value}</p>
      <ProblemNote problem={problem.value} onDismiss={dismiss} />
    </section>
  );
}

function download(file: Uint8Array, name: string): void {
  const blob = new Blob([file.slice()], { type: "application/octet-stream" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
