import { RefusedError, TransportError } from "keras-split-client/status";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Figures } from "../../src/dashboard/figures";
import { Watch } from "../../src/dashboard/watch";
import { figuresOf } from "./some_figures";

let asked: string[];
let answer: () => Promise<Figures>;
let kept: Map<string, string>;

function watching(): Watch {
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
  return new Watch((token) => {
    asked.push(token);
    return answer();
  }, storage);
}

const seconds = (count: number) => vi.advanceTimersByTimeAsync(1000 * count);

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  kept = new Map();
  answer = async () => figuresOf({ uptimeS: asked.length, steps: 3 });
});
afterEach(() => vi.useRealTimers());

test("it asks once a second", async () => {
  const watch = watching();
  watch.soon();
  await seconds(3.5);

  expect(asked.length).toBe(4);
  expect(watch.state.value.kind).toBe("live");
  expect(watch.history.value.last?.figures.steps).toBe(3);
});

test("without an answer the figures stay, and are said to be old", async () => {
  const watch = watching();
  watch.soon();
  await seconds(1.5);
  answer = () => Promise.reject(new TransportError("no answer"));
  await seconds(1);

  expect(watch.state.value).toEqual({ kind: "stale", text: "no answer" });
  expect(watch.history.value.last?.figures.steps).toBe(3);

  const before = asked.length;
  await seconds(30); // not once a second, now
  expect(asked.length - before).toBeLessThan(9);
  expect(asked.length - before).toBeGreaterThan(4);

  answer = async () => figuresOf({ uptimeS: 1 });
  await seconds(5);
  expect(watch.state.value.kind).toBe("live");
});

test.each(["unauthenticated", "permission"])(
  "who may not see it (%s) is asked for a token, and asks no more",
  async (reason) => {
    answer = () => Promise.reject(new RefusedError("not yours", reason));
    const watch = watching();
    watch.soon();
    await seconds(10);
    expect(asked).toEqual([""]);
    expect(watch.state.value).toEqual({ kind: "locked", text: "" });

    watch.open("wrong");
    await seconds(10);
    expect(asked).toEqual(["", "wrong"]);
    expect(watch.state.value).toEqual({ kind: "locked", text: "not yours" });
    expect(kept.size).toBe(0);

    answer = async () => figuresOf();
    watch.open("right");
    await seconds(0.1);
    expect(watch.state.value.kind).toBe("live");
    expect([...kept.values()]).toEqual(["right"]);
  },
);

test("a token that is taken back hides what it showed", async () => {
  const watch = watching();
  watch.open("right");
  await seconds(1.5);
  answer = () => Promise.reject(new RefusedError("not yours", "permission"));
  await seconds(1);

  expect(watch.state.value.kind).toBe("locked");
  expect(watch.history.value.last).toBeUndefined();
});

test("another refusal is not for want of a token", async () => {
  answer = () => Promise.reject(new RefusedError("too many", "busy"));
  const watch = watching();
  watch.soon();
  await seconds(0.1);

  expect(watch.state.value).toEqual({ kind: "stale", text: "too many" });
});

test("whoever leaves is not shown what comes late", async () => {
  let come: (figures: Figures) => void = () => {};
  answer = () => new Promise((resolve) => (come = resolve));
  const watch = watching();
  watch.open("right");
  await seconds(0.1);

  watch.leave();
  come(figuresOf());
  await seconds(5);

  expect(watch.state.value.kind).toBe("locked");
  expect(watch.history.value.last).toBeUndefined();
  expect(kept.size).toBe(0);
  expect(asked.length).toBe(1);
});
