/** How long and how often a client tries again. */
import { DataError, worthAnotherTry } from "./errors.js";

/** What a client does when its server does not answer. */
export interface RetryOptions {
  /** How long to try, from the first failure on; 0 for not at all. */
  readonly giveUpS?: number;
  /** The first pause; each is about twice the one before, in part random. */
  readonly firstS?: number;
  /** The longest pause. */
  readonly longestS?: number;
  /** How long to wait for each reply. */
  readonly replyTimeoutS?: number;
  /**
   * How much of what was sent is kept for a server that writes checkpoints
   * and may die. When it is full, the client asks for a checkpoint.
   */
  readonly logBytes?: number;
  /** Hears of each failure that is not the last. */
  readonly onTrouble?: (error: Error, pauseS: number) => void;
}

/** The same, complete and checked. */
export class Retry {
  readonly giveUpS: number;
  readonly firstS: number;
  readonly longestS: number;
  readonly replyTimeoutS: number;
  readonly logBytes: number;
  private readonly onTrouble: (error: Error, pauseS: number) => void;

  constructor(options: RetryOptions = {}) {
    this.giveUpS = options.giveUpS ?? 120;
    this.firstS = options.firstS ?? 0.2;
    this.longestS = options.longestS ?? 10;
    this.replyTimeoutS = options.replyTimeoutS ?? 600;
    this.logBytes = options.logBytes ?? 64 * 2 ** 20;
    this.onTrouble = options.onTrouble ?? (() => {});
    for (const [name, value] of Object.entries(this)) {
      if (typeof value === "number" && !(value >= 0)) {
        throw new DataError(
          `Expected ${name} of 0 or more. Received: ${value}. ` +
            "{ giveUpS: 0 } does not try again at all.",
        );
      }
    }
  }

  /**
   * Calls until it works, something else goes wrong, or time is up.
   *
   * @throws What `attempt` threw last.
   */
  async call<T>(attempt: () => Promise<T>): Promise<T> {
    let end = 0;
    for (let pauseS = this.firstS; ; pauseS *= 2) {
      try {
        return await attempt();
      } catch (error) {
        // The clock runs from here, for a first failure may take minutes.
        end ||= Date.now() + 1000 * this.giveUpS;
        const leftS = (end - Date.now()) / 1000;
        if (!worthAnotherTry(error) || leftS <= 0) throw error;
        const chosenS =
          Math.min(pauseS, this.longestS) + Math.random() * this.firstS;
        this.onTrouble(error as Error, chosenS);
        await new Promise((resolve) => setTimeout(resolve, 1000 * chosenS));
      }
    }
  }
}
