import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { Album } from "../album";
import { percent } from "../format";
import { takePhoto } from "../images/camera";
import { readPhoto } from "../images/files";
import type { Pixels } from "../images/pixels";
import { sampleToTry } from "../images/samples";
import { KINDS } from "../images/sprite";
import type { Phone } from "../phone/types";
import { probabilities } from "../training/labels";
import { stack } from "../training/trainer";
import { Icon } from "./icons";
import { PictureOf } from "./picture_of";
import { ProblemNote } from "./problem_note";
import { useAttempt } from "./use_attempt";
import { Viewfinder } from "./viewfinder";

interface Props {
  readonly album: Album;
  readonly phone: Phone;
}

interface Answer {
  readonly pixels: Pixels;
  readonly shares: readonly number[];
}

/** Pause between two looks at the camera: a person reads no faster. */
const PAUSE_MS = 150;

/** Third part: what the network says of something new. */
export function TrySection({ album, phone }: Props) {
  const { attempt, problem, busy, dismiss } = useAttempt();
  const answer = useSignal<Answer | null>(null);
  const live = useSignal(false);
  const tried = useSignal(0);
  const video = useRef<HTMLVideoElement>(null);
  const watching = useRef(false);
  const { task } = album;

  const ask = async (pixels: Pixels) => {
    const x = stack([{ pixels }], task);
    const [rows] = await phone.infer([x], 1);
    if (!rows) return;
    const row = rows.subarray(0, rows.length);
    answer.value = { pixels, shares: probabilities(row, task) };
  };

  // A video plays anew with each other camera; one look at a time is enough.
  const watch = async () => {
    if (watching.current) return;
    watching.current = true;
    await attempt(async () => {
      while (live.value && video.current) {
        const pixels = takePhoto(video.current, task.input);
        if (pixels) await ask(pixels);
        await new Promise((go) => setTimeout(go, PAUSE_MS));
      }
    });
    watching.current = false;
  };

  const trySample = () =>
    attempt(async () => {
      const kinds = KINDS.flatMap((kind, place) =>
        album.classes.value.includes(kind) ? [place] : [],
      );
      const from = kinds.length ? kinds : KINDS.map((_, place) => place);
      const kind = from[tried.value % from.length] ?? 0;
      const index = Math.floor(tried.value / from.length);
      tried.value += 1;
      await ask(await sampleToTry(kind, index));
    });

  return (
    <section class="panel" aria-labelledby="try">
      <h2 id="try">
        <span class="number">3</span> Try it
      </h2>
      <p>
        Show it something that it has not seen in the training: with the camera,
        from a file, or a sample image.
      </p>
      {live.value && (
        <Viewfinder video={video} shape={task.input} onReady={watch} />
      )}
      <div class="buttons">
        <button
          type="button"
          class="second"
          aria-label={live.value ? "Stop the camera" : "Try with the camera"}
          onClick={() => {
            live.value = !live.value;
          }}
        >
          <Icon name="camera" />
          {live.value ? "Stop camera" : "Camera"}
        </button>
        <label class="button second">
          <Icon name="files" />
          File
          <input
            type="file"
            aria-label="Try a photo file"
            class="unseen"
            accept="image/*"
            onChange={(event) => {
              const { currentTarget } = event;
              const [file] = currentTarget.files ?? [];
              if (!file) return;
              attempt(async () =>
                ask(await readPhoto(file, file.name, task.input)),
              ).finally(() => {
                currentTarget.value = "";
              });
            }}
          />
        </label>
        <button
          type="button"
          class="second"
          aria-label="Try a sample image"
          disabled={busy.value && !live.value}
          onClick={trySample}
        >
          <Icon name="samples" />
          Sample
        </button>
      </div>
      <ProblemNote problem={problem.value} onDismiss={dismiss} />
      {answer.value && <Bars album={album} answer={answer.value} />}
    </section>
  );
}

/** How likely each class is; the likeliest is also said and marked. */
function Bars({
  album,
  answer,
}: {
  readonly album: Album;
  readonly answer: Answer;
}) {
  const names = album.classes.value;
  const rows = names.flatMap((name, label) =>
    name ? [{ name, share: answer.shares[label] ?? 0 }] : [],
  );
  const others = 1 - rows.reduce((sum, row) => sum + row.share, 0);
  if (others > 0.005) rows.push({ name: "None of these", share: others });
  const best = rows.reduce((top, row) => (row.share > top.share ? row : top), {
    name: "Nothing",
    share: -1,
  });
  return (
    <div class="answer">
      <PictureOf pixels={answer.pixels} label="What was tried" class="tried" />
      <div class="verdict">
        <p role="status">
          <strong>{best.name}</strong>
        </p>
        <ul class="bars">
          {rows.map(({ name, share }) => (
            <li key={name} class={name === best.name ? "best" : ""}>
              <span class="name">{name}</span>
              <span class="value">{percent(share)}</span>
              <span class="track" aria-hidden="true">
                <span class="bar" style={{ width: `${100 * share}%` }} />
              </span>
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}
