import { post } from "./post";

/** A code with which one phone joins. */
export interface Invitation {
  /** What the phone opens. */
  readonly url: string;
  /** When the code ends, in milliseconds of this browser's clock. */
  readonly untilMs: number;
}

/**
 * Has the server make a code.
 *
 * @throws Error If it does not; the message is for people.
 */
export async function invite(
  baseUrl: string,
  token: string,
): Promise<Invitation> {
  const { url, seconds } = await post(baseUrl, "/invite", token);
  if (typeof url !== "string") {
    throw new Error("The server gave no code. Reload the dashboard.");
  }
  const lastsS = typeof seconds === "number" ? seconds : 600;
  return { url, untilMs: Date.now() + 1000 * lastsS };
}
