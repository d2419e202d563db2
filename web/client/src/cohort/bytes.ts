/** Bytes of a buffer of their own, as WebCrypto takes them. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Bytes by the number of the member that they are of, or for. */
export type Blobs = ReadonlyMap<number, Uint8Array>;

/** Bytes behind one another. */
export function concat(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The bytes of a string that is ASCII. */
export function ascii(text: string): Bytes {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/** Numbers below 2^32 as 4 bytes each, big-endian. */
export function uint32s(...numbers: readonly number[]): Bytes {
  const view = new DataView(new ArrayBuffer(4 * numbers.length));
  for (const [i, number] of numbers.entries()) view.setUint32(4 * i, number);
  return new Uint8Array(view.buffer);
}

/** A number as 8 bytes, big-endian. */
export function uint64(number: bigint): Bytes {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, number);
  return new Uint8Array(view.buffer);
}

/** Hexadecimal digits. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

/** Whether two are the same; how long that takes tells where they differ. */
export function same(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((b, i) => b === other[i]);
}

/** Bytes that nobody can guess. */
export function randomBytes(count: number): Bytes {
  return crypto.getRandomValues(new Uint8Array(count));
}

/** SHA-256, 32 bytes. */
export async function sha256(data: Uint8Array): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", owned(data)));
}

/** The same bytes, not of memory that workers share. */
export function owned(bytes: Uint8Array): Bytes {
  return bytes.buffer instanceof ArrayBuffer
    ? (bytes as Bytes)
    : new Uint8Array(bytes);
}
