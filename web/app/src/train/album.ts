import { computed, signal } from "@preact/signals";
import type { Pixels } from "./images/pixels";
import { Problem } from "./problem";
import type { Example, PageStore } from "./store";
import type { Task } from "./training/task";

/** Longest name of a class, so that it fits under a photo. */
const LONGEST = 40;

/** Classes and the photos that are in them. */
export class Album {
  /** By number; an empty name is a number that is free. */
  readonly classes = signal<readonly string[]>([]);
  readonly examples = signal<ReadonlyMap<number, Example>>(new Map());
  /** Numbers of the classes that have photos. */
  readonly filled = computed(() => {
    const labels = new Set<number>();
    for (const { label } of this.examples.value.values()) labels.add(label);
    return [...labels].sort((one, other) => one - other);
  });

  constructor(
    private readonly store: PageStore,
    readonly task: Task,
  ) {}

  /** Brings back what this phone kept. */
  async restore(): Promise<void> {
    const { names, classes } = this.task;
    const kept = (await this.store.get("classes")) ?? [];
    this.classes.value = names.length ? names : kept.slice(0, classes);
    const all = await this.store.examples();
    this.examples.value = new Map(
      [...all]
        .map(([key, example]) => [key, this.placed(example)] as const)
        .filter(([, { label }]) => this.classes.value[label]),
    );
  }

  /** Whether the file gives the names, so that nobody else may. */
  get named(): boolean {
    return this.task.names.length > 0;
  }

  /** Whether one more class would fit. */
  readonly room = computed(
    () =>
      !this.named &&
      this.classes.value.filter(Boolean).length < this.task.classes,
  );

  /**
   * Makes a class.
   *
   * @returns Its number: the output of the network that will stand for it.
   * @throws Problem If the name is taken, or the network has no more outputs.
   */
  async addClass(name: string): Promise<number> {
    const trimmed = this.check(name);
    const free = this.classes.value.indexOf("");
    const label = free < 0 ? this.classes.value.length : free;
    if (label >= this.task.classes || this.named) {
      throw new Problem(
        `This network tells ${this.task.classes} classes apart, and has them.`,
        "Take a class away first, or ask for a model with more outputs.",
      );
    }
    await this.rename(label, trimmed);
    return label;
  }

  async rename(label: number, name: string): Promise<void> {
    const trimmed = this.check(name, label);
    const classes = [...this.classes.value];
    classes[label] = trimmed;
    await this.store.set("classes", classes);
    this.classes.value = classes;
  }

  /** Takes a class away, with its photos. Others keep their numbers. */
  async removeClass(label: number): Promise<void> {
    const keys = this.keysOf(label);
    await this.remove(keys);
    const classes = [...this.classes.value];
    classes[label] = "";
    while (classes.at(-1) === "") classes.pop();
    await this.store.set("classes", classes);
    this.classes.value = classes;
    const late = this.keysOf(label); // they came meanwhile
    if (late.length) await this.remove(late);
  }

  /**
   * Adds photos to a class.
   *
   * @param name Of the class, as whoever took them saw it.
   * @throws Problem If it was taken away meanwhile.
   */
  async add(
    label: number,
    photos: readonly Pixels[],
    name = this.classes.value[label],
  ): Promise<void> {
    if (!name || name !== this.classes.value[label]) throw gone();
    const made = photos.map((pixels) => ({ label, name, pixels }));
    const keys = await this.store.addExamples(made);
    if (name !== this.classes.value[label]) {
      await this.store.deleteExamples(keys);
      throw gone();
    }
    const examples = new Map(this.examples.value);
    made.forEach((example, place) => {
      examples.set(keys[place] as number, example);
    });
    this.examples.value = examples;
  }

  async remove(keys: readonly number[]): Promise<void> {
    await this.store.deleteExamples(keys);
    const examples = new Map(this.examples.value);
    for (const key of keys) examples.delete(key);
    this.examples.value = examples;
  }

  /** Keys of the photos of a class. */
  keysOf(label: number): number[] {
    return [...this.examples.value]
      .filter(([, example]) => example.label === label)
      .map(([key]) => key);
  }

  /**
   * A photo under the number that its class has now.
   *
   * Another model may number the classes otherwise. One whose class is not
   * there has no number; it comes back with a class of that name.
   */
  private placed(example: Example): Example {
    const { name } = example;
    return name === undefined
      ? example
      : { ...example, label: this.classes.value.indexOf(name) };
  }

  private check(name: string, label = -1): string {
    const trimmed = name.trim().slice(0, LONGEST);
    if (!trimmed) {
      throw new Problem("A class needs a name.", "Type what it shows.");
    }
    const taken = this.classes.value.findIndex(
      (other) => other.toLowerCase() === trimmed.toLowerCase(),
    );
    if (taken >= 0 && taken !== label) {
      throw new Problem(
        `There is a class ${trimmed} already.`,
        "Choose another name.",
      );
    }
    return trimmed;
  }
}

function gone(): Problem {
  return new Problem(
    "The class of these photos was taken away.",
    "Add them to another one.",
  );
}
