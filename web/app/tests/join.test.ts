import { expect, test, vi } from "vitest";
import {
  invitation,
  join,
  pastedInvitation,
  takeInvitation,
} from "../src/train/join";

test("the invitation leaves the address bar", () => {
  const replaceState = vi.fn();
  const address = { hash: "#join=abc", pathname: "/", search: "?x=1" };

  expect(takeInvitation(address, { replaceState })).toBe("abc");
  expect(replaceState).toHaveBeenCalledWith(null, "", "/?x=1");
});

test("an address without one is left as it is", () => {
  const replaceState = vi.fn();
  const address = { hash: "#train", pathname: "/", search: "" };

  expect(takeInvitation(address, { replaceState })).toBeNull();
  expect(replaceState).not.toHaveBeenCalled();
  expect(invitation({ hash: "#join=" })).toBeNull();
});

test("an address may be pasted, or the token alone", () => {
  expect(pastedInvitation(" https://host:8443/#join=abc ")).toBe("abc");
  expect(pastedInvitation(" abc ")).toBe("abc");
});

test("an invitation gives a token; one that is used does not", async () => {
  const fetched = vi.fn(async () =>
    Response.json({ token: "mine", name: "p" }),
  );
  const used = async () => new Response("{}", { status: 403 });
  const gone = async () => {
    throw new TypeError("Failed to fetch");
  };

  const open = async () => new Response("{}", { status: 501 });

  expect(await join("http://host", "abc", fetched)).toBe("mine");
  expect(await join("http://host", "abc", open)).toBeUndefined();
  await expect(join("http://host", "abc", used)).rejects.toThrow(
    "does not open the server",
  );
  await expect(join("http://host", "abc", gone)).rejects.toThrow(
    "was not used",
  );
});
