/** Carries a message to a server, and brings its reply. */
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { RefusedError, TransportError } from "../errors.js";
import { type Envelope, SplitTraining } from "../gen/split_pb.js";

/** Carries envelopes; `connect` makes the usual one. */
export interface Transport {
  /**
   * Sends a message and waits for the reply.
   *
   * @throws RefusedError If the call itself was refused.
   * @throws TransportError If no reply came; the message may have arrived.
   */
  exchange(envelope: Envelope, timeoutMs: number): Promise<Envelope>;
}

/** Where a server is, and how to get in. */
export interface ConnectOptions {
  /** Such as `https://192.168.1.5:8443`. */
  readonly baseUrl: string;
  /** What the server asks for, if it asks for tokens. */
  readonly token?: string | undefined;
  /** Instead of the browser's own. */
  readonly fetch?: typeof globalThis.fetch;
}

// Statuses that say the reason themselves, if the server does not.
const REASONS: Partial<Record<Code, string>> = {
  [Code.Unauthenticated]: "unauthenticated",
  [Code.PermissionDenied]: "permission",
  [Code.Unimplemented]: "unimplemented",
  [Code.NotFound]: "unimplemented", // a server of something else
};

/** Calls the methods of a server over HTTP, with Connect. */
export function caller(
  options: ConnectOptions,
): ReturnType<typeof createClient<typeof SplitTraining>> {
  const { baseUrl, token } = options;
  return createClient(
    SplitTraining,
    createConnectTransport({
      baseUrl,
      useBinaryFormat: true,
      ...(options.fetch && { fetch: options.fetch }),
      interceptors: [
        (next) => (request) => {
          if (token) request.header.set("Authorization", `Bearer ${token}`);
          return next(request);
        },
      ],
    }),
  );
}

/** A transport over HTTP: Connect, one unary call for each message. */
export function connect(options: ConnectOptions): Transport {
  const client = caller(options);
  return {
    async exchange(envelope, timeoutMs) {
      try {
        return await client.exchange(envelope, { timeoutMs });
      } catch (error) {
        throw ours(ConnectError.from(error), options.baseUrl);
      }
    },
  };
}

/** A status of Connect as an error of this package. */
export function ours(
  error: ConnectError,
  baseUrl: string,
): RefusedError | TransportError {
  const reason =
    error.metadata.get("keras-split-reason") ?? REASONS[error.code];
  if (reason === "unimplemented") {
    return new RefusedError(
      `Expected a keras_split server at ${baseUrl}. Received: ` +
        `${error.rawMessage}. Give the address that keras-split serve --web ` +
        "prints.",
      reason,
      { cause: error },
    );
  }
  if (reason)
    return new RefusedError(error.rawMessage, reason, { cause: error });
  return new TransportError(
    `Expected an answer of ${baseUrl}. Received: ${Code[error.code]}: ` +
      `${error.rawMessage}. Is keras-split serve --web running, and is this ` +
      "device online?",
    { cause: error },
  );
}
