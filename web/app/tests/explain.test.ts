import {
  DataError,
  RefusedError,
  StoreError,
  TransportError,
} from "keras-split-client";
import { expect, test } from "vitest";
import { explain, isOfHalf } from "../src/train/explain";
import { Problem } from "../src/train/problem";

test("each kind of error says what happened and what to do", () => {
  const all = [
    new Problem("a", "b"),
    new TransportError("Expected an answer. Received: unavailable."),
    new StoreError(
      "Expected one tab that trains this half. Received: another.",
    ),
    new RefusedError("no such token", "unauthenticated"),
    new RefusedError("too many", "busy"),
    new RefusedError("a new reason", "of-tomorrow"),
    new DOMException("full", "QuotaExceededError"),
    new TypeError("x is undefined"),
    "thrown text",
  ].map(explain);

  for (const { happened, advice } of all) {
    expect(happened).toBeTruthy();
    expect(advice).toMatch(/[.]$|^b$/);
  }
  expect(all[0]).toEqual({ happened: "a", advice: "b" });
  expect(all[1]?.happened).toBe("The server does not answer.");
  expect(all[2]?.happened).toContain("open in another tab");
  expect(all[3]?.advice).toContain("Scan the code");
  expect(all[4]?.happened).toBe("The server says: too many");
});

test("a half can be given up where it is what the server refuses", () => {
  expect(isOfHalf(new RefusedError("an old checkpoint", "order"))).toBe(true);
  expect(isOfHalf(new DataError("another file"))).toBe(true);
  for (const error of [
    new RefusedError("too many", "busy"),
    new RefusedError("no such token", "unauthenticated"),
    new TransportError("Expected an answer. Received: unavailable."),
    "thrown text",
  ]) {
    expect(isOfHalf(error)).toBe(false);
  }
});
