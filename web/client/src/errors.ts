/**
 * What may go wrong. Messages have three parts, as everywhere in keras_split:
 * what was expected, what came, and what to do.
 *
 *     SplitError
 *     |- DataError         a file, a batch or a saved state does not fit
 *     |- RuntimeError      LiteRT.js cannot run the file
 *     |- StoreError        what the phone keeps cannot be read or written
 *     |- ProtocolError     a message is not what the contract says
 *     |- RefusedError      the server refused, and says why
 *     |- OptionError       a setting of a training cannot be
 *     |- QuantizationError a half does not fit under masks
 *     `- TransportError    no answer came
 */
export class SplitError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A file, a batch or a saved state does not fit. Nothing was changed. */
export class DataError extends SplitError {}

/** LiteRT.js cannot load the phone's half, or cannot run it. */
export class RuntimeError extends SplitError {}

/** What the phone keeps cannot be read or written. */
export class StoreError extends SplitError {}

/** A message, or what is to be sent, is not what the contract says. */
export class ProtocolError extends SplitError {
  constructor(
    message: string,
    /** One of the reasons of "On the phone", such as `"shape"`. */
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The server refused a message; nothing has changed on its side. */
export class RefusedError extends SplitError {
  constructor(
    message: string,
    /** One of the reasons of "On the phone", such as `"order"`. */
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** No answer came; the message may have arrived. */
export class TransportError extends SplitError {}

/** Reasons of refusals after which the same message may be answered later. */
export const LATER: ReadonlySet<string> = new Set([
  "busy",
  "memory",
  "rate",
  "stopping",
]);

/** Whether the same message may be answered after a pause. */
export function worthAnotherTry(error: unknown): boolean {
  if (error instanceof RefusedError) return LATER.has(error.reason);
  return error instanceof TransportError;
}

/** An error's message, whatever was thrown. */
export function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
