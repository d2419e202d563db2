import { signal } from "@preact/signals";
import { Album } from "./album";
import { forgetLearned } from "./forget";
import { join, takeInvitation } from "./join";
import { Link } from "./link";
import type { Description, Phone } from "./phone/types";
import { PageStore } from "./store";
import { Run } from "./training/run";
import { taskOf } from "./training/task";

/** The server, as one phone reaches it. */
export interface Server {
  /** Fetches client.json. */
  describe(): Promise<Description>;
  /** Opens this phone's half, with what it has learned so far. */
  open(description: Description, link: Link): Promise<Phone>;
}

/** A server, for who has this token or none; a stand-in in tests. */
export type ServerOf = (baseUrl: string, token: string | undefined) => Server;

/** What a page that is ready works with. */
export interface Ready {
  readonly phone: Phone;
  readonly description: Description;
  readonly album: Album;
  readonly run: Run;
  readonly store: PageStore;
}

/** From opening the page to a phone that can train. */
export class Visit {
  /** What is being done, for whoever waits. */
  readonly doing = signal("Opening …");
  readonly ready = signal<Ready | null>(null);
  /** Why the page cannot go on. */
  readonly problem = signal<unknown>(null);
  readonly link = new Link();
  private store: PageStore | null = null;

  constructor(
    private readonly baseUrl: string,
    private readonly serverOf: ServerOf,
  ) {}

  /** Opens everything; what fails is in `problem`. */
  async open(invited: string | null = null): Promise<void> {
    this.problem.value = null;
    try {
      this.ready.value = await this.opened(invited);
    } catch (problem) {
      this.problem.value = problem;
    }
  }

  /**
   * Deletes what this phone has learned, and opens anew. Photos stay.
   *
   * For a half that its server does not go on with.
   */
  async startAfresh(): Promise<void> {
    this.problem.value = null;
    try {
      if (this.store) await forgetLearned(this.store);
    } catch (problem) {
      this.problem.value = problem;
      return;
    }
    await this.open();
  }

  private async opened(invited: string | null): Promise<Ready> {
    this.doing.value = "Looking at what this phone kept …";
    this.store ??= await PageStore.open();
    const { store } = this;
    if (invited) {
      this.doing.value = "Using the invitation …";
      const token = await join(this.baseUrl, invited);
      if (token) await store.set("token", token);
    }
    this.doing.value = "Asking what the server's model is …";
    const server = this.serverOf(this.baseUrl, await store.get("token"));
    const description = await server.describe();
    const task = taskOf(description);
    await forgetOther(store, description.contract.fingerprint);
    this.doing.value = "Loading this phone's half of the network …";
    const phone = await server.open(description, this.link);
    try {
      const album = new Album(store, task);
      await album.restore();
      const run = new Run(store, phone, album);
      await run.restore();
      return { phone, description, album, run, store };
    } catch (error) {
      // Else it would keep its half from the next attempt.
      await phone.close().catch(() => undefined);
      throw error;
    }
  }
}

/** Of the address bar; the fragment is gone afterwards. */
export function invitationHere(): string | null {
  return takeInvitation(location, history);
}

/** A training of another model cannot go on; photos can. */
async function forgetOther(
  store: PageStore,
  fingerprint: string,
): Promise<void> {
  const kept = await store.get("fingerprint");
  if (kept !== undefined && kept !== fingerprint) {
    await store.forget("plan");
    await store.clearPoints();
  }
  await store.set("fingerprint", fingerprint);
}
