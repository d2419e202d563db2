import type { ClientDescription } from "keras-split-client";
import { Problem } from "../problem";
import type { Server, ServerOf } from "../visit";
import type { Description, Shared } from "./types";

/** A running `keras-split serve --web`. */
export const serverOf: ServerOf = (baseUrl, token): Server => ({
  async describe() {
    const reply = await get(baseUrl, "/client.json", token);
    return (await reply.json()) as Description;
  },

  async open(description, link) {
    // All that computes and speaks is loaded now, behind the page itself.
    const [{ SplitClient, WorkerRuntime, connect, train }, reply] =
      await Promise.all([
        import("keras-split-client"),
        get(baseUrl, "/client.tflite", token),
      ]);
    const wire = connect({ baseUrl, ...(token && { token }) });
    const client = await SplitClient.open({
      baseUrl,
      token,
      model: await reply.arrayBuffer(),
      description: description as ClientDescription,
      runtime: new WorkerRuntime({ wasm: import.meta.env.VITE_WASM }),
      retry: { onTrouble: (_, pauseS) => link.failed(pauseS) },
      transport: {
        async exchange(envelope, timeoutMs) {
          const answer = await wire.exchange(envelope, timeoutMs);
          link.works();
          return answer;
        },
      },
    });
    return Object.assign(client, {
      async together({ every, ...shared }: Shared): Promise<boolean> {
        const history = await train(client, shared, {
          ...shared,
          federate: { every },
          onStep: (result, _, places) => shared.onStep(result, places),
        });
        return !history.stopped;
      },
    });
  },
});

/**
 * Fetches a file that the server gives to phones that it knows.
 *
 * @throws Problem If it does not.
 */
async function get(
  baseUrl: string,
  path: string,
  token: string | undefined,
): Promise<Response> {
  let reply: Response;
  try {
    reply = await fetch(new URL(path, baseUrl), {
      cache: "no-cache",
      headers: token ? { authorization: `Bearer ${token}` } : {},
    });
  } catch (cause) {
    throw new Problem(
      "The server does not answer.",
      "Check that this phone is in the server's network and that the server " +
        "runs; then try again. Photos and what was learned stay on this phone.",
      { cause },
    );
  }
  if (reply.ok) return reply;
  if (reply.status === 401 || reply.status === 403) {
    throw new Problem(
      token
        ? "The server does not know this phone any more."
        : "This server asks for an invitation.",
      "Scan the code that it shows, or paste the invitation below.",
    );
  }
  if (reply.status === 501) {
    throw new Problem(
      "Several processes share the phones of this server, and browsers do " +
        "not follow to one of them.",
      "Train with keras-split train or keras-split device, or ask whoever " +
        "runs it for a merged cohort (--cohort merged --replicas N), which " +
        "serves browsers, too.",
    );
  }
  if (reply.status === 404) {
    throw new Problem(
      "This server has no model for phones.",
      "Ask whoever runs it to start it with --web and a model that can be " +
        "exported.",
    );
  }
  throw new Problem(
    `The server could not give its model (status ${reply.status}).`,
    "Wait a minute, then try again.",
  );
}
