import { Problem } from "./problem";

/** Status of a server that asks nobody for a token. */
const OPEN_TO_ALL = 501;

/** Where the page is opened: an address with or without an invitation. */
export interface Address {
  readonly hash: string;
  readonly pathname: string;
  readonly search: string;
}

/**
 * The join token of an address such as `https://host/#join=TOKEN`.
 *
 * It stands in the fragment, which no browser sends to a server, and so in no
 * log on the way.
 */
export function invitation(address: Pick<Address, "hash">): string | null {
  const token = new URLSearchParams(address.hash.slice(1)).get("join");
  return token?.trim() || null;
}

/** Of what somebody typed or pasted: a whole address, or the token alone. */
export function pastedInvitation(text: string): string {
  const { 1: fragment } = text.split("#");
  return invitation({ hash: `#${fragment ?? ""}` }) ?? text.trim();
}

/**
 * Takes the invitation out of the address bar, before anything else sees it.
 */
export function takeInvitation(
  address: Address,
  history: Pick<History, "replaceState">,
): string | null {
  const token = invitation(address);
  if (token) {
    history.replaceState(null, "", address.pathname + address.search);
  }
  return token;
}

/**
 * Gives a join token for a token of one's own.
 *
 * @returns undefined if the server asks for none.
 * @throws Problem If the server does not take it, or is not there.
 */
export async function join(
  baseUrl: string,
  invited: string,
  fetch_: typeof fetch = fetch,
): Promise<string | undefined> {
  let reply: Response;
  try {
    reply = await fetch_(new URL("/join", baseUrl), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ code: invited }),
    });
  } catch (cause) {
    throw new Problem(
      "The server does not answer, so the invitation was not used.",
      "Check that this phone is in the server's network, then open the " +
        "invitation again.",
      { cause },
    );
  }
  if (reply.status === OPEN_TO_ALL) return undefined;
  if (!reply.ok) {
    throw new Problem(
      reply.status === 429
        ? "Too many invitations were tried just now."
        : "This invitation does not open the server: each one is for one " +
            "phone, and for ten minutes.",
      "Scan the code that the server shows now.",
    );
  }
  const { token } = (await reply.json()) as { token?: unknown };
  if (typeof token !== "string" || !token) {
    throw new Problem(
      "The server took the invitation, but gave no token for it.",
      "Page and server are of different versions. Reload the page.",
    );
  }
  return token;
}
