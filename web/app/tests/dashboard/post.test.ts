import { afterEach, expect, test, vi } from "vitest";
import { invite } from "../../src/dashboard/invite";
import { joinedWithCode, revoke } from "../../src/dashboard/revoke";

const HERE = "https://here";

function answers(status: number, said: unknown) {
  const fetch = vi.fn(async (_: URL, __: RequestInit) =>
    Response.json(said, { status }),
  );
  vi.stubGlobal("fetch", fetch);
  return fetch;
}

afterEach(() => vi.unstubAllGlobals());

test("a token is taken back by the name of its phone", async () => {
  const fetch = answers(200, {});

  await revoke(HERE, "mine", "web-3");

  const [url, init] = fetch.mock.calls[0] ?? [];
  expect(String(url)).toBe("https://here/revoke");
  expect(init?.body).toBe('{"name":"web-3"}');
  expect(init?.headers).toMatchObject({ authorization: "Bearer mine" });
});

test("what the server refuses is said in its words", async () => {
  answers(404, { message: "Expected the name of a phone that joined." });
  await expect(revoke(HERE, "mine", "web-3")).rejects.toThrow("that joined");

  answers(503, "no object");
  await expect(invite(HERE, "")).rejects.toThrow("503");

  answers(200, { seconds: 600 });
  await expect(invite(HERE, "")).rejects.toThrow("no code");
});

test("only phones that joined with a code have a token to take back", () => {
  expect(joinedWithCode("web-12")).toBe(true);
  expect(joinedWithCode("alice")).toBe(false);
  expect(joinedWithCode("web-12-old")).toBe(false);
  expect(joinedWithCode("")).toBe(false);
});
