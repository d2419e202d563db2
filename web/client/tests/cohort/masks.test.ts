/// <reference types="node" />
import { expect, test } from "vitest";
import { hex } from "../../src/cohort/bytes.js";
import { addStream, derive, pairKey, selfKey } from "../../src/cohort/masks.js";
import {
  agree,
  inJavaScript,
  inWebCrypto,
  publicKey,
} from "../../src/cohort/x25519.js";
import { sha256hex, unhex, VECTORS } from "./vectors.js";

const SALT = Uint8Array.from({ length: 32 }, (_, i) => i);
// RFC 7748, section 6.1: Bob's private key, Alice's public one.
const BOB = unhex(
  "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
);
const ALICE = unhex(
  "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
);
const SHARED =
  "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";

test.each([
  ["WebCrypto", inWebCrypto],
  ["JavaScript", inJavaScript],
])("two members agree in %s as the standard says", async (_, exchange) => {
  expect(hex(await exchange(BOB, ALICE))).toBe(SHARED);
  expect(hex(await publicKey(BOB)).slice(0, 16)).toBe("de9edb7d7b7dc1b4");
});

test.each([
  ["WebCrypto", inWebCrypto],
  ["JavaScript", inJavaScript],
])("a point of small order is an error in %s", async (_, exchange) => {
  await expect(exchange(BOB, new Uint8Array(32))).rejects.toThrow();
});

test.each([0, 31, 33, 32])(
  "%d bytes that are no public key are refused",
  async (length) => {
    await expect(agree(BOB, new Uint8Array(length))).rejects.toThrow(
      "Expected a public X25519 key",
    );
  },
);

test("keys differ by purpose, member and roster", async () => {
  const keys = await Promise.all([
    pairKey(BOB, ALICE, SALT, 3, 4),
    pairKey(BOB, ALICE, SALT, 3, 5),
    pairKey(BOB, ALICE, new Uint8Array(32), 3, 4),
    selfKey(unhex(SHARED), SALT, 3),
    derive(unhex(SHARED), SALT, "keras_split seal", 3, 4),
  ]);

  expect(new Set(keys.map(hex)).size).toBe(5);
});

test.each(VECTORS.masks)(
  "a mask of $bits bits is one stream, goes on and comes off as in Python",
  async ({ bits, key, size, added, subtracted }) => {
    const words = new Uint32Array((size * bits) / 32);
    if (bits === 32) words.set(words.map((_, i) => Math.imul(i, 0x9e3779b1)));
    else {
      const wide = new BigUint64Array(words.buffer);
      for (let i = 0; i < size; i++) wide[i] = BigInt(i) * 0x9e3779b1n;
    }
    const plain = words.slice();
    const minus = words.slice();

    await addStream(words, bits, unhex(key));
    await addStream(minus, bits, unhex(key), { subtract: true });

    expect(sha256hex(new Uint8Array(words.buffer))).toBe(added);
    expect(sha256hex(new Uint8Array(minus.buffer))).toBe(subtracted);
    await addStream(words, bits, unhex(key), { subtract: true });
    expect(Buffer.from(words.buffer).equals(Buffer.from(plain.buffer))).toBe(
      true,
    );
  },
);
