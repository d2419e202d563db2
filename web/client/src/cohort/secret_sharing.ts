/**
 * Secrets that some members together know, and the envelopes of their shares.
 *
 * Shamir 1979 (10.1145/359168.359176) over GF(2^128) modulo
 * `x^128 + x^7 + x^2 + x + 1`, 16 bytes big-endian, as pycryptodome has it: the
 * server puts the shares of all phones together, so they must be of one field.
 * No package for JavaScript has this one.
 */
import { type Bytes, owned } from "./bytes.js";

/** Bytes of a secret, and of each of its shares. */
export const SECRET_BYTES = 16;
export const SHARE_BYTES = 16;
const TAG_BYTES = 16;
// A key seals one message only.
const NONCE = new Uint8Array(12);
const WORDS = 4;

/** Makes bytes that nobody can guess. */
export type Random = (count: number) => Uint8Array;

/**
 * Shares of a secret, 16 bytes each, by place in the roster.
 *
 * The member at place `i`, from 0, has the value at `i + 1` of a polynomial
 * whose value at 0 is the secret.
 *
 * @param secret 16 bytes.
 * @param threshold So many of them have the secret; fewer know nothing of it.
 * @param members How many shares to make.
 * @param random Makes the other coefficients, that of the highest power first.
 */
export function split(
  secret: Uint8Array,
  threshold: number,
  members: number,
  random: Random,
): Bytes[] {
  const coefficients: Uint32Array[] = [];
  for (let power = threshold - 1; power > 0; power--) {
    coefficients.push(read(random(SECRET_BYTES)));
  }
  coefficients.push(read(secret));
  return Array.from({ length: members }, (_, place) => {
    let value: Uint32Array = new Uint32Array(WORDS);
    for (const coefficient of coefficients) {
      value = times(value, place + 1); // Horner's method
      add(value, coefficient);
    }
    return write(value);
  });
}

/** Length of an envelope around so many bytes. */
export function sealedBytes(count: number): number {
  return count + TAG_BYTES;
}

/** An envelope that only this key opens: AES-256-GCM, a nonce of zeros. */
export async function seal(
  key: Uint8Array,
  message: Uint8Array,
): Promise<Bytes> {
  const cipher = await gcm(key, "encrypt");
  const algorithm = { name: "AES-GCM", iv: NONCE };
  return new Uint8Array(
    await crypto.subtle.encrypt(algorithm, cipher, owned(message)),
  );
}

/** What is in an envelope; null if it was not sealed with this key. */
export async function unseal(
  key: Uint8Array,
  sealed: Uint8Array,
): Promise<Bytes | null> {
  const cipher = await gcm(key, "decrypt");
  try {
    return new Uint8Array(
      await crypto.subtle.decrypt(
        { name: "AES-GCM", iv: NONCE },
        cipher,
        owned(sealed),
      ),
    );
  } catch {
    return null;
  }
}

function gcm(key: Uint8Array, use: KeyUsage): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", owned(key), "AES-GCM", false, [use]);
}

// -- the field: words of 32 bits, the highest first ---------------------------

function read(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, SECRET_BYTES);
  return Uint32Array.from({ length: WORDS }, (_, i) => view.getUint32(4 * i));
}

function write(value: Uint32Array): Bytes {
  const view = new DataView(new ArrayBuffer(SHARE_BYTES));
  for (const [i, word] of value.entries()) view.setUint32(4 * i, word);
  return new Uint8Array(view.buffer);
}

function add(value: Uint32Array, other: Uint32Array): void {
  for (let i = 0; i < WORDS; i++) {
    value[i] = (value[i] as number) ^ (other[i] as number);
  }
}

/** A secret value times a place that all know; only the latter branches. */
function times(value: Uint32Array, place: number): Uint32Array {
  const product = new Uint32Array(WORDS);
  const power = value.slice();
  for (let rest = place; rest > 0; rest >>>= 1) {
    if (rest & 1) add(product, power);
    double(power);
  }
  return product;
}

/** Times `x`, in place. */
function double(value: Uint32Array): void {
  const [a, b, c, d] = value as unknown as [number, number, number, number];
  value[0] = (a << 1) | (b >>> 31);
  value[1] = (b << 1) | (c >>> 31);
  value[2] = (c << 1) | (d >>> 31);
  value[3] = (d << 1) ^ (0x87 & -(a >>> 31));
}
