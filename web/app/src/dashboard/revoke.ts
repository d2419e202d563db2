import { post } from "./post";

/** Whether the server itself gave a client its token, for a code. */
export function joinedWithCode(client: string): boolean {
  return /^web-\d+$/.test(client);
}

/**
 * Takes back the token of a phone that joined with a code.
 *
 * @throws Error If the server does not; the message is for people.
 */
export async function revoke(
  baseUrl: string,
  token: string,
  client: string,
): Promise<void> {
  await post(baseUrl, "/revoke", token, { name: client });
}
