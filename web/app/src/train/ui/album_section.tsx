import { useSignal } from "@preact/signals";
import type { Album } from "../album";
import { ClassCard } from "./class_card";
import { Icon } from "./icons";
import { ProblemNote } from "./problem_note";
import { SamplesForm } from "./samples_form";
import { useAttempt } from "./use_attempt";

interface Props {
  readonly album: Album;
  readonly locked: boolean;
}

/** First part: what there is to tell apart. */
export function AlbumSection({ album, locked }: Props) {
  const { attempt, problem, dismiss } = useAttempt();
  const name = useSignal("");
  const { classes, input } = album.task;

  const add = (event: SubmitEvent) => {
    event.preventDefault();
    attempt(async () => {
      await album.addClass(name.value);
      name.value = "";
    });
  };

  return (
    <section class="panel" aria-labelledby="album">
      <h2 id="album">
        <span class="number">1</span> Show it things
      </h2>
      <p>
        {album.named
          ? `The network tells ${classes} things apart. Give photos to two of them or more.`
          : `Name two to ${classes} things, and give photos of each: 20 or more, from many sides.`}{" "}
        Each becomes {input.width} by {input.height} pixels.
      </p>
      {locked && (
        <p class="note">
          A training goes through these photos. To change them, pause it and
          stop it there.
        </p>
      )}
      <div class="classes">
        {album.classes.value.map(
          (each, label) =>
            each && (
              <ClassCard
                key={label}
                album={album}
                label={label}
                name={each}
                locked={locked}
              />
            ),
        )}
      </div>
      {album.room.value && (
        <form class="add" onSubmit={add}>
          <label for="new-class">New class</label>
          <div class="buttons">
            <input
              id="new-class"
              type="text"
              maxLength={40}
              autocomplete="off"
              placeholder="Cup"
              value={name.value}
              disabled={locked}
              onInput={(event) => {
                name.value = event.currentTarget.value;
              }}
            />
            <button type="submit" class="second" disabled={locked}>
              <Icon name="plus" />
              Add class
            </button>
          </div>
        </form>
      )}
      <ProblemNote problem={problem.value} onDismiss={dismiss} />
      <SamplesForm album={album} locked={locked} />
    </section>
  );
}
