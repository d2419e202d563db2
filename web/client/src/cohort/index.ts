/** A phone as one of many: one model of all of them. */
export type { FederatedAveraging } from "./averaging.js";
export type { Logs, OnStep, Rate } from "./epoch.js";
export { OptionError, QuantizationError } from "./errors.js";
export type { Arrays, Examples, Rows } from "./examples.js";
export type { TrainingPhone } from "./phone.js";
export { type History, type TrainOptions, train } from "./train.js";
