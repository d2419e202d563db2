/** What a server is doing, for the person who runs it. */
import { ConnectError } from "@connectrpc/connect";
import type { StatusReply } from "./gen/split_pb.js";
import { type ConnectOptions, caller, ours } from "./wire/transport.js";

export { RefusedError, TransportError } from "./errors.js";
export type {
  CohortStatus,
  ReplicaStatus,
  RoundStatus,
  SessionStatus,
  StatusReply,
  Times,
} from "./gen/split_pb.js";

/**
 * Asks a server what it is doing.
 *
 * @param options Where it is; the token is the operator's, if it has one.
 * @param timeoutMs How long to wait for the answer.
 * @throws RefusedError If the server does not tell whoever has this token.
 * @throws TransportError If no answer came.
 */
export async function fetchStatus(
  options: ConnectOptions,
  timeoutMs = 5000,
): Promise<StatusReply> {
  try {
    return await caller(options).status({}, { timeoutMs });
  } catch (error) {
    throw ours(ConnectError.from(error), options.baseUrl);
  }
}
