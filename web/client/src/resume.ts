/** How a phone goes on from what an earlier life of it kept. */
import { type ClientDescription, checkState } from "./description.js";
import type { PhoneHalf, StepResult } from "./half.js";
import type { Journal } from "./journal.js";
import type { Session } from "./session.js";
import { dtypeOf } from "./tensors.js";

/**
 * Brings a phone to where its journal is, and its server too.
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
  if (await session.begin(journal.open)) return await half.finish();
  await begin(half, session, journal);
  return undefined;
}

/** Opens a session, and keeps its name: a tab may be killed before a step. */
export async function begin(
  half: PhoneHalf,
  session: Session,
  journal: Journal,
): Promise<void> {
  await session.begin();
  if (journal.open) await journal.drop(); // of a session that is no more
  if (journal.half) {
    await journal.replace(half.half(journal.half.state), true);
  }
}
