import { signal } from "@preact/signals";

/** A connection that is being tried again. */
export interface Trouble {
  /** Nothing else is done until then, in seconds. */
  readonly pauseS: number;
}

/** What is known of the way to the server; null while it is fine. */
export class Link {
  readonly trouble = signal<Trouble | null>(null);

  /** An attempt failed, and there will be another. */
  failed(pauseS: number): void {
    this.trouble.value = { pauseS };
  }

  /** An answer came. */
  works(): void {
    if (this.trouble.value) this.trouble.value = null;
  }
}
