/**
 * Masks that cancel out in a sum, and the keys that they come from; byte for
 * byte those of keras_split/aggregation/masks.py.
 */
import { ascii, type Bytes, concat, owned, uint32s } from "./bytes.js";
import { agree } from "./x25519.js";

// A stream is made in parts, so that it takes no memory of a whole half.
const CHUNK_BYTES = 1 << 20;
const BLOCK_BYTES = 16;
const ZEROS = new Uint8Array(CHUNK_BYTES);

/**
 * A key, 32 bytes, for one purpose of some members (HKDF-SHA256, RFC 5869).
 *
 * @param secret What it is made of.
 * @param salt Digest of the roster; empty for a key before there is one.
 * @param label Says the purpose, in ASCII.
 * @param members Their numbers.
 */
export async function derive(
  secret: Uint8Array,
  salt: Uint8Array,
  label: string,
  ...members: readonly number[]
): Promise<Bytes> {
  const info = concat(ascii(label), uint32s(...members));
  const algorithm = { name: "HKDF", hash: "SHA-256", salt: owned(salt), info };
  const key = await crypto.subtle.importKey(
    "raw",
    owned(secret),
    "HKDF",
    false,
    ["deriveBits"],
  );
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, 256));
}

/** The private key of a member's masks with others, of a shared secret. */
export function maskPrivate(secret: Uint8Array): Promise<Bytes> {
  return derive(secret, new Uint8Array(0), "keras_split mask key");
}

/**
 * The key of a mask that two members have in common.
 *
 * The member with the lower number adds the mask, the other subtracts it.
 *
 * @throws ProtocolError If the public key is none.
 */
export async function pairKey(
  secret: Uint8Array,
  publicKey: Uint8Array,
  salt: Uint8Array,
  lower: number,
  higher: number,
): Promise<Bytes> {
  const shared = await agree(secret, publicKey);
  return derive(shared, salt, "keras_split pair mask", lower, higher);
}

/** The key of a member's mask of its own, which it adds. */
export function selfKey(
  secret: Uint8Array,
  salt: Uint8Array,
  member: number,
): Promise<Bytes> {
  return derive(secret, salt, "keras_split self mask", member);
}

/**
 * Adds the mask of a key to numbers, in place, modulo 2^32 or 2^64.
 *
 * @param words The numbers: one word of 32 bits each, or two, the lower first.
 * @param bits Of a number.
 * @param key Of AES-256-CTR, whose stream over zeros is the mask.
 * @param options `subtract` to take it off instead.
 */
export async function addStream(
  words: Uint32Array,
  bits: 32 | 64,
  key: Uint8Array,
  { subtract = false }: { subtract?: boolean } = {},
): Promise<void> {
  const cipher = await crypto.subtle.importKey(
    "raw",
    owned(key),
    "AES-CTR",
    false,
    ["encrypt"],
  );
  const change = bits === 32 ? addWords : addPairs;
  for (let start = 0; start < 4 * words.length; start += CHUNK_BYTES) {
    const bytes = Math.min(CHUNK_BYTES, 4 * words.length - start);
    const stream = await crypto.subtle.encrypt(
      { name: "AES-CTR", counter: counter(start / BLOCK_BYTES), length: 128 },
      cipher,
      ZEROS.subarray(0, bytes),
    );
    const part = words.subarray(start / 4, (start + bytes) / 4);
    change(part, new Uint32Array(stream), subtract);
  }
}

/** All 128 bits count; a half has fewer than 2^36 bytes. */
function counter(block: number): Bytes {
  return concat(new Uint8Array(12), uint32s(block));
}

function addWords(words: Uint32Array, mask: Uint32Array, subtract: boolean) {
  const sign = subtract ? -1 : 1;
  for (let i = 0; i < words.length; i++) {
    words[i] = (words[i] as number) + sign * (mask[i] as number);
  }
}

/** BigInt has 64 bits, too, but takes twenty times as long. */
function addPairs(words: Uint32Array, mask: Uint32Array, subtract: boolean) {
  const sign = subtract ? -1 : 1;
  for (let i = 0; i < words.length; i += 2) {
    const low = (words[i] as number) + sign * (mask[i] as number);
    const carry = low > 0xffffffff ? 1 : low < 0 ? -1 : 0;
    words[i] = low;
    const high = (words[i + 1] as number) + sign * (mask[i + 1] as number);
    words[i + 1] = high + carry;
  }
}
