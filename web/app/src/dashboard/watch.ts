import { signal } from "@preact/signals";
import { fetchStatus, RefusedError } from "keras-split-client/status";
import { type Figures, figures } from "./figures";
import { History } from "./history";

/** How it stands with the server. */
export type State =
  | { readonly kind: "asking" }
  | { readonly kind: "live" }
  | { readonly kind: "stale"; readonly text: string }
  | { readonly kind: "locked"; readonly text: string };

/** Asks a server what it is doing, as whoever has the token. */
export type Ask = (token: string) => Promise<Figures>;

const EVERY_MS = 1000;
const LONGEST_PAUSE_MS = 5000; // while nobody answers
const PATIENCE_MS = 4000;
const KEY = "keras-split-operator"; // of this tab, until it is closed

/** Asks a running `keras-split serve --web`. */
export const asks =
  (baseUrl: string): Ask =>
  async (token) =>
    figures(
      await fetchStatus({ baseUrl, ...(token && { token }) }, PATIENCE_MS),
    );

/** Asks once a second, for as long as the server tells. */
export class Watch {
  readonly state = signal<State>({ kind: "asking" });
  readonly history = signal(History.empty);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private round = 0; // replies to older rounds come too late
  private failures = 0;

  constructor(
    private readonly ask: Ask,
    private readonly kept: Pick<
      Storage,
      "getItem" | "setItem" | "removeItem"
    > = sessionStorage,
    private readonly now: () => number = Date.now,
  ) {}

  /** The operator's token, as far as it was said. */
  get token(): string {
    return this.kept.getItem(KEY) ?? "";
  }

  /** Begins anew with a token, which this tab keeps until it is closed. */
  open(token: string): void {
    if (token) this.kept.setItem(KEY, token);
    else this.kept.removeItem(KEY);
    this.state.value = { kind: "asking" };
    this.history.value = History.empty;
    this.soon();
  }

  /** Asks now, and then every second. */
  soon(): void {
    clearTimeout(this.timer);
    this.round += 1;
    this.failures = 0;
    void this.look(this.round);
  }

  /** Forgets the token and what it showed. */
  leave(): void {
    this.stop();
    this.kept.removeItem(KEY);
    this.history.value = History.empty;
    this.state.value = { kind: "locked", text: "" };
  }

  /** Asks no more. */
  stop(): void {
    clearTimeout(this.timer);
    this.round += 1;
  }

  private async look(round: number): Promise<void> {
    try {
      const found = await this.ask(this.token);
      if (round !== this.round) return;
      this.failures = 0;
      const sample = { atMs: this.now(), figures: found };
      this.history.value = this.history.value.with(sample);
      this.state.value = { kind: "live" };
    } catch (error) {
      if (round !== this.round) return;
      const text = error instanceof Error ? error.message : String(error);
      if (
        error instanceof RefusedError &&
        ["unauthenticated", "permission"].includes(error.reason)
      ) {
        // Asked again and again, the server would count and log it.
        this.history.value = History.empty;
        this.state.value = { kind: "locked", text: this.token && text };
        this.kept.removeItem(KEY);
        return;
      }
      this.failures += 1;
      this.state.value = { kind: "stale", text };
    }
    const pause = Math.min(EVERY_MS * 2 ** this.failures, LONGEST_PAUSE_MS);
    this.timer = setTimeout(
      () => void this.look(round),
      this.failures ? pause : EVERY_MS,
    );
  }
}
