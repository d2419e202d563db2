import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { Album } from "../album";
import { counted } from "../format";
import { takePhoto } from "../images/camera";
import { readPhoto } from "../images/files";
import { Icon } from "./icons";
import { PictureOf } from "./picture_of";
import { ProblemNote } from "./problem_note";
import { useAttempt } from "./use_attempt";
import { Viewfinder } from "./viewfinder";

/** Photos of a row, and between two of them milliseconds. */
const ROW = 10;
const PAUSE_MS = 250;
/** Photos of a class that are shown before somebody asks for all. */
const FEW = 12;

interface Props {
  readonly album: Album;
  readonly label: number;
  readonly name: string;
  /** Photos may not change while a training goes through them. */
  readonly locked: boolean;
}

/** One class: its name, its photos, and how to get more of them. */
export function ClassCard({ album, label, name, locked }: Props) {
  const { attempt, problem, busy, dismiss } = useAttempt();
  const shooting = useSignal(false);
  const all = useSignal(false);
  const said = useSignal("");
  const video = useRef<HTMLVideoElement>(null);
  const keys = album.keysOf(label);
  const { input } = album.task;

  const shoot = (count: number) =>
    attempt(async () => {
      for (let taken = 0; taken < count; taken += 1) {
        const photo = video.current && takePhoto(video.current, input);
        if (photo) await album.add(label, [photo], name);
        if (count > 1) await new Promise((go) => setTimeout(go, PAUSE_MS));
      }
      said.value = `${name}: ${counted(album.keysOf(label).length, "photo")}`;
    });

  const read = (files: FileList | null) =>
    attempt(async () => {
      let broken: unknown = null;
      for (const file of files ?? []) {
        try {
          const photo = await readPhoto(file, file.name, input);
          await album.add(label, [photo], name);
        } catch (error) {
          broken = error;
        }
      }
      said.value = `${name}: ${counted(album.keysOf(label).length, "photo")}`;
      if (broken) throw broken;
    });

  const removeAll = () => {
    const sure =
      !keys.length ||
      confirm(`Take away ${name} and its ${counted(keys.length, "photo")}?`);
    if (sure) attempt(() => album.removeClass(label));
  };

  return (
    <section class="class" aria-label={`Class ${name}`}>
      <header>
        <h3>{name}</h3>
        <span class="count">{counted(keys.length, "photo")}</span>
        {!album.named && (
          <button
            type="button"
            class="quiet icon-only"
            disabled={locked}
            aria-label={`Take away class ${name}`}
            onClick={removeAll}
          >
            <Icon name="bin" />
          </button>
        )}
      </header>
      {keys.length > 0 && (
        <ul class="thumbs">
          {(all.value ? keys : keys.slice(-FEW)).map((key, place) => {
            const example = album.examples.value.get(key);
            return (
              example && (
                <li key={key}>
                  <PictureOf pixels={example.pixels} label="" />
                  <button
                    type="button"
                    disabled={locked}
                    aria-label={`Delete photo ${place + 1} of ${name}`}
                    onClick={() => attempt(() => album.remove([key]))}
                  >
                    <Icon name="close" />
                  </button>
                </li>
              )
            );
          })}
        </ul>
      )}
      {keys.length > FEW && (
        <button
          type="button"
          class="quiet"
          aria-expanded={all.value}
          onClick={() => {
            all.value = !all.value;
          }}
        >
          {all.value ? `Show the last ${FEW}` : `Show all ${keys.length}`}
        </button>
      )}
      {shooting.value && (
        <div class="camera">
          <Viewfinder video={video} shape={input} />
          <div class="buttons">
            <button
              type="button"
              disabled={busy.value || locked}
              onClick={() => shoot(1)}
            >
              Take a photo
            </button>
            <button
              type="button"
              class="second"
              disabled={busy.value || locked}
              onClick={() => shoot(ROW)}
            >
              Take {ROW} in a row
            </button>
            <button
              type="button"
              class="quiet"
              onClick={() => {
                shooting.value = false;
              }}
            >
              Close camera
            </button>
          </div>
        </div>
      )}
      {!shooting.value && (
        <div class="buttons">
          <button
            type="button"
            class="second"
            disabled={locked}
            aria-label={`Camera for ${name}`}
            onClick={() => {
              shooting.value = true;
            }}
          >
            <Icon name="camera" />
            Camera
          </button>
          <label class={`button second ${locked ? "disabled" : ""}`}>
            <Icon name="files" />
            Files
            <input
              type="file"
              class="unseen"
              accept="image/*"
              multiple
              disabled={locked}
              aria-label={`Photo files for ${name}`}
              onChange={(event) => {
                const { currentTarget } = event; // null once this returns
                read(currentTarget.files).finally(() => {
                  currentTarget.value = "";
                });
              }}
            />
          </label>
        </div>
      )}
      <p class="unseen" role="status">
        {said.value}
      </p>
      <ProblemNote problem={problem.value} onDismiss={dismiss} />
    </section>
  );
}
