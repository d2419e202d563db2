import { expect, test } from "vitest";
import {
  address,
  brief,
  bytes,
  duration,
  number,
  rate,
} from "../../src/dashboard/format";

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.0 KiB"],
  [10_189, "10 KiB"],
  [1024 ** 2 - 1, "1.0 MiB"],
  [512 * 1024 ** 2, "512 MiB"],
  [3 * 1024 ** 3, "3.0 GiB"],
  [2 ** 60, "1024 PiB"],
])("%d bytes", (value, words) => {
  expect(bytes(value)).toBe(words);
});

test.each([
  [0, "0 s"],
  [59.4, "59 s"],
  [59.6, "1:00"],
  [100, "1:40"],
  [3599.6, "1:00:00"],
  [7384, "2:03:04"],
  [86_400, "1 day 0:00:00"],
  [5 * 86_400 + 7384, "5 days 2:03:04"],
])("%d seconds", (value, words) => {
  expect(duration(value)).toBe(words);
});

test.each([
  [null, "–"],
  [0.00042, "0.42 ms"],
  [0.005, "5 ms"],
  [0.035, "35 ms"],
  [0.9999, "1.0 s"],
  [2.104, "2.1 s"],
])("a short time of %d", (value, words) => {
  expect(brief(value)).toBe(words);
});

test.each([
  [null, "–"],
  [0, "0.0"],
  [0.25, "0.25"],
  [7.46, "7.5"],
  [12_345.6, "12,346"],
])("a rate of %d", (value, words) => {
  expect(rate(value)).toBe(words);
});

test("numbers and addresses are for people", () => {
  expect(number(1_234_567)).toBe("1,234,567");
  expect(address("ipv4:10.0.0.2:40312")).toBe("10.0.0.2:40312");
  expect(address("ipv6:[::1]:40312")).toBe("[::1]:40312");
});
