/** How a phone goes on from what an earlier life of it kept. */
import { type ClientDescription, checkState } from "./description.js";
import { RefusedError } from "./errors.js";
import type { PhoneHalf, StepResult } from "./half.js";
import type { Journal } from "./journal.js";
import type { Session } from "./session.js";
import { dtypeOf } from "./tensors.js";

// What the server says to messages that were made with another file.
const ANOTHER = ["codec", "shape"];

/**
 * Brings a phone to where its journal is, and its server too.
 *
 * The file may be another one meanwhile, with the same weights: of another
 * batch size or quantization. A step that was begun with the one before
 * cannot be ended; then the half goes on in another session.
 *
 * @returns What the step came to that was interrupted; undefined if none was,
 *   or it was not taken.
 */
export async function resume(
  half: PhoneHalf,
  session: Session,
  journal: Journal,
  description: ClientDescription,
): Promise<StepResult | undefined> {
  if (description.mode !== "train") {
    await session.begin();
    return undefined;
  }
  if (journal.half) {
    checkState(journal.half.state, description, dtypeOf);
    await half.setState(journal.half.state);
  } else {
    await journal.replace(half.half(await half.getState()));
  }
  const { open } = journal;
  if (open && !half.fits(open)) session.leave();
  try {
    return (await session.begin(open)) ? await half.finish() : undefined;
  } catch (error) {
    const another =
      error instanceof RefusedError && ANOTHER.includes(error.reason);
    if (!another) throw error;
  }
  session.leave();
  await session.begin();
  return undefined;
}
