import { SplitError } from "../errors.js";

/** A number does not fit what it is to be rounded to; nothing was sent. */
export class QuantizationError extends SplitError {}

/** A setting of a training cannot be. */
export class OptionError extends SplitError {}
