/**
 * Has the server do what is the operator's to ask.
 *
 * @param path Such as `/invite`.
 * @param token The operator's; empty where nobody is asked for one.
 * @param words What is said besides.
 * @throws Error If it does not; the message is for people.
 */
export async function post(
  baseUrl: string,
  path: string,
  token: string,
  words?: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, unknown>>> {
  let reply: Response;
  try {
    reply = await fetch(new URL(path, baseUrl), {
      method: "POST",
      headers: {
        ...(words && { "content-type": "application/json" }),
        ...(token && { authorization: `Bearer ${token}` }),
      },
      ...(words && { body: JSON.stringify(words) }),
    });
  } catch (cause) {
    throw new Error("The server does not answer. Try again in a moment.", {
      cause,
    });
  }
  const said = (await reply.json().catch(() => ({}))) as Record<
    string,
    unknown
  >;
  if (!reply.ok) {
    const { message } = said;
    throw new Error(
      typeof message === "string"
        ? message
        : `The server said ${reply.status}.`,
    );
  }
  return said;
}
