import { useSignal } from "@preact/signals";
import type { Album } from "../album";
import { counted } from "../format";
import { samplesToTrain } from "../images/samples";
import { KINDS, TO_TRAIN } from "../images/sprite";
import { Problem } from "../problem";
import { Icon } from "./icons";
import { ProblemNote } from "./problem_note";
import { useAttempt } from "./use_attempt";

/** Kinds that look so different that a minute of training is enough. */
const FIRST = new Set(["Trouser", "Bag"]);

/** Fills classes with images that came with the page. */
export function SamplesForm({
  album,
  locked,
}: {
  readonly album: Album;
  readonly locked: boolean;
}) {
  const { attempt, problem, busy, dismiss } = useAttempt();
  const chosen = useSignal<ReadonlySet<string>>(FIRST);
  const said = useSignal("");

  const add = () =>
    attempt(async () => {
      const wanted = KINDS.filter((kind) => chosen.value.has(kind));
      const missing = wanted.filter((kind) => placeOf(album, kind) < 0);
      const taken = album.classes.value.filter(Boolean).length;
      const free = album.named ? 0 : album.task.classes - taken;
      if (missing.length > free) {
        throw new Problem(
          `${counted(missing.length, "class", "classes")} would be new, and ` +
            `this network has room for ${free} more.`,
          "Choose fewer kinds, or take classes away.",
        );
      }
      for (const kind of wanted) {
        const found = placeOf(album, kind);
        const label = found < 0 ? await album.addClass(kind) : found;
        const name = album.classes.value[label];
        const images = await samplesToTrain(KINDS.indexOf(kind));
        await album.add(label, images, name);
      }
      const added = counted(TO_TRAIN * wanted.length, "image");
      said.value = `Added ${added} of ${wanted.join(", ")}.`;
    });

  return (
    <details class="samples">
      <summary>
        <Icon name="samples" />
        Use sample images
      </summary>
      <p>
        Small gray photos of clothes, {TO_TRAIN} of each kind. They are part of
        this page (Fashion-MNIST, © Zalando, MIT licence).
      </p>
      <fieldset>
        <legend>Kinds</legend>
        <div class="choices">
          {KINDS.map((kind) => (
            <label key={kind}>
              <input
                type="checkbox"
                checked={chosen.value.has(kind)}
                onChange={(event) => {
                  const next = new Set(chosen.value);
                  if (event.currentTarget.checked) next.add(kind);
                  else next.delete(kind);
                  chosen.value = next;
                }}
              />
              {kind}
            </label>
          ))}
        </div>
      </fieldset>
      <button
        type="button"
        class="second"
        disabled={busy.value || locked || !chosen.value.size}
        onClick={add}
      >
        Add {counted(TO_TRAIN * chosen.value.size, "sample image")}
      </button>
      <p role="status">{said.value}</p>
      <ProblemNote problem={problem.value} onDismiss={dismiss} />
    </details>
  );
}

function placeOf(album: Album, kind: string): number {
  return album.classes.value.findIndex(
    (name) => name.toLowerCase() === kind.toLowerCase(),
  );
}
