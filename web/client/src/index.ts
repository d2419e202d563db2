/** The phone of split learning, in a browser or in Node. */
export { type OpenOptions, SplitClient, type StepOptions } from "./client.js";
export * from "./cohort/index.js";
export type {
  ClientDescription,
  InputDescription,
  OutputDescription,
  Rule,
  SharedSpec,
  SignatureDescription,
  StateDescription,
  TensorDescription,
  TensorSpec,
} from "./description.js";
export * from "./errors.js";
export type { CohortInfo, MergedStep } from "./gen/split_pb.js";
export type { Score, StepResult } from "./half.js";
export type { Moment } from "./journal.js";
export type { RetryOptions } from "./retry.js";
export { type LiteRtOptions, LiteRtRuntime } from "./runtime/litert.js";
export type { Runtime } from "./runtime/runtime.js";
export { WorkerRuntime } from "./runtime/worker.js";
export type { Reply, Session } from "./session.js";
export { IndexedDbStore } from "./store/indexed_db.js";
export { type Changes, MemoryStore, type Store } from "./store/store.js";
export type {
  CutTensor,
  DType,
  Tensor,
  Tensors,
  TypedArray,
} from "./tensors.js";
export {
  type ConnectOptions,
  connect,
  type Transport,
} from "./wire/transport.js";
