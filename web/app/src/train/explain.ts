import { Problem } from "./problem";

/** What happened and what to do, in words of this page. */
export interface Explanation {
  readonly happened: string;
  readonly advice: string;
}

/** What a refusal's reason asks a person to do; texts are the server's. */
const ADVICE: Record<string, string> = {
  unauthenticated:
    "Scan the code that the server shows, or paste its invitation below.",
  permission: "Delete all and start afresh under “Kept on this phone”.",
  busy: "Others are training. Wait a minute, then go on.",
  memory: "Others are training. Wait a minute, then go on.",
  rate: "Wait a minute, then go on.",
  stopping: "The server is being stopped. Go on when it is back.",
  "inference-only": "Ask whoever runs the server for one that trains.",
  fingerprint: "The server has another model now. Reload the page.",
  cut: "The server has another model now. Reload the page.",
  data: "Reload the page, so that it knows the classes of the server.",
  "not-finite": "Take a smaller learning rate, then go on.",
  norm: "Take a smaller learning rate, then go on.",
  "learning-rate": "Take a learning rate between 0 and 1.",
  order: "Start afresh, if the server has no newer checkpoint.",
  size: "Ask whoever runs the server to raise its limit on messages.",
  checkpoint: "Go on; ask whoever runs the server for room on its disk.",
};

/** Reasons for which a server does not go on with the half of a phone. */
const HALVES: ReadonlySet<string> = new Set([
  ...["codec", "order", "permission", "session", "shape"],
]);

const NOTHING_LOST =
  "Nothing is lost: photos and what was learned are on this phone. ";

/** Errors of `keras-split-client` by name, and what a person may make of them. */
const KINDS: Record<string, (message: string) => Explanation> = {
  TransportError: () => ({
    happened: "The server does not answer.",
    advice:
      NOTHING_LOST +
      "Check that this phone is in the server's network and that the server " +
      "runs, then go on.",
  }),
  StoreError: (message) => ({
    happened: message.includes("one tab")
      ? "This page is open in another tab, which has this phone's half."
      : `What this phone keeps cannot be used: ${message}`,
    advice: "Close the other tabs of this page, then try again.",
  }),
  RuntimeError: (message) => ({
    happened: `This browser could not run the phone's half: ${message}`,
    advice:
      "Reload the page. If that does not help, take a newer browser: it " +
      "needs WebAssembly.",
  }),
  DataError: (message) => ({
    happened: message,
    advice: `${NOTHING_LOST}Files and server have to belong together.`,
  }),
};

/**
 * Puts an error of any kind into words.
 *
 * @param error A `Problem`, an error of `keras-split-client` with its
 *   `reason`, or anything that a browser throws.
 */
export function explain(error: unknown): Explanation {
  if (error instanceof Problem) {
    return { happened: error.message, advice: error.advice };
  }
  if (!(error instanceof Error)) {
    return unexpected(String(error));
  }
  const reason =
    "reason" in error && typeof error.reason === "string" ? error.reason : "";
  if (reason === "unauthenticated") {
    return {
      happened: "The server does not know this phone.",
      advice: ADVICE[reason] ?? "",
    };
  }
  if (reason) {
    return {
      happened: `The server says: ${error.message}`,
      advice: NOTHING_LOST + (ADVICE[reason] ?? "Reload the page and go on."),
    };
  }
  const known = KINDS[error.name];
  if (known) return known(error.message);
  if (error.name === "QuotaExceededError") {
    return {
      happened: "This phone has no more room for photos.",
      advice: "Delete some, here or elsewhere on the phone.",
    };
  }
  return unexpected(error.message);
}

/**
 * Whether the half on this phone is in the way, so that it can be given up.
 *
 * @param error As `explain` takes it.
 */
export function isOfHalf(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const reason = "reason" in error ? String(error.reason) : "";
  return error.name === "DataError" || HALVES.has(reason);
}

function unexpected(message: string): Explanation {
  return {
    happened: message || "Something went wrong that nobody expected.",
    advice: `${NOTHING_LOST}Go on, or reload the page.`,
  };
}
