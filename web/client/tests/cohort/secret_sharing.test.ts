import { expect, test } from "vitest";
import { hex, randomBytes } from "../../src/cohort/bytes.js";
import { seal, split, unseal } from "../../src/cohort/secret_sharing.js";
import { chance, sha256hex, unhex, VECTORS } from "./vectors.js";

test.each(VECTORS.shamir)(
  "$threshold of $members shares are those of Python",
  ({ secret, threshold, members, shares, last }) => {
    const made = split(unhex(secret), threshold, members, chance("shamir"));

    expect(hex(made.at(-1) as Uint8Array)).toBe(last);
    expect(sha256hex(...made)).toBe(shares);
  },
);

test("an envelope opens with its key alone, and whole", async () => {
  const key = randomBytes(32);
  const sealed = await seal(key, Uint8Array.of(1, 2, 3));

  expect(await unseal(key, sealed)).toEqual(Uint8Array.of(1, 2, 3));
  expect(await unseal(randomBytes(32), sealed)).toBeNull();
  expect(await unseal(key, sealed.slice(1))).toBeNull();
  expect(await unseal(key, new Uint8Array(0))).toBeNull();
});
