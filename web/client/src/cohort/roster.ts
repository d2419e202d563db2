/** Who takes part in a secure sum, with which keys. */

import { ProtocolError } from "../errors.js";
import {
  ascii,
  type Blobs,
  type Bytes,
  concat,
  hex,
  sha256,
  uint32s,
  uint64,
} from "./bytes.js";
import { type Bits, FixedPoint, isExponent } from "./fixed_point.js";
import { KEY_BYTES } from "./x25519.js";

/** One alone is its own sum. */
export const FEWEST = 2;
const KEYS_BYTES = 97;

/** What a phone tells all others before a sum. */
export interface PhoneKeys {
  /** Public X25519 key, for the envelopes of shares. */
  readonly seal: Uint8Array;
  /** Another, for masks that two phones have in common. */
  readonly mask: Uint8Array;
  /** SHA-256 of the secret of the phone's mask of its own. */
  readonly digest: Uint8Array;
  /** Its weight is at most `2**exponent`. */
  readonly exponent: number;
}

/** Keys as they travel: 97 bytes. */
export function writeKeys(keys: PhoneKeys): Bytes {
  const exponent = Uint8Array.of(keys.exponent);
  return concat(keys.seal, keys.mask, keys.digest, exponent);
}

/**
 * Reads them.
 *
 * @throws ProtocolError If they cannot be that.
 */
export function readKeys(data: Uint8Array, bits: Bits): PhoneKeys {
  const exponent = data[KEYS_BYTES - 1];
  if (
    data.length !== KEYS_BYTES ||
    exponent === undefined ||
    !isExponent(exponent, bits)
  ) {
    throw new ProtocolError(
      `Expected the keys of a phone: ${KEYS_BYTES} bytes, the last the ` +
        `exponent of its weight. Received: ${data.length} bytes, ` +
        `${hex(data.slice(-1)) || "none"} the last.`,
      "protocol",
    );
  }
  return {
    seal: data.slice(0, KEY_BYTES),
    mask: data.slice(KEY_BYTES, 2 * KEY_BYTES),
    digest: data.slice(2 * KEY_BYTES, 3 * KEY_BYTES),
    exponent,
  };
}

/** The members of one sum, as all of them must have seen them. */
export class Roster {
  private constructor(
    /** Of each member, in the order of numbers. */
    readonly keys: ReadonlyMap<number, PhoneKeys>,
    /** How numbers are written. */
    readonly format: FixedPoint,
    /**
     * Digest of all of this, 32 bytes; keys of two rosters differ.
     *
     * SHA-256 of `keras_split secure sum 1`, the name of the cohort (both
     * ASCII), the number of the round (8 bytes, big-endian), and of each
     * member in the order of numbers: the number (4 bytes, big-endian) and its
     * keys as they travel.
     */
    readonly salt: Bytes,
  ) {}

  /**
   * A roster as the server sends it.
   *
   * @param cohort Its name.
   * @param round Number of the sum there.
   * @param bits Of the numbers.
   * @param keys Of all members.
   * @throws ProtocolError With reason `late` if there are too few members for
   *   a sum, `protocol` if a key is none or stands there twice.
   * @throws QuantizationError If their weights leave no room.
   */
  static async read(
    cohort: string,
    round: bigint,
    bits: Bits,
    keys: Blobs,
  ): Promise<Roster> {
    if (keys.size < FEWEST) {
      throw new ProtocolError(
        `Expected ${FEWEST} phones or more, whose sum tells of none. ` +
          `Received: ${keys.size}. Ask for the next round.`,
        "late",
      );
    }
    const members = [...keys.keys()].sort((one, other) => one - other);
    const wrong = members.find((m) => !(m === m >>> 0));
    if (wrong !== undefined) {
      throw new ProtocolError(
        "Expected numbers of members that fit 4 bytes. Received: " +
          `${wrong}.`,
        "protocol",
      );
    }
    const read = new Map(
      members.map((m) => [m, readKeys(keys.get(m) as Uint8Array, bits)]),
    );
    const all = [...read.values()];
    const different = new Set(all.flatMap((k) => [hex(k.seal), hex(k.mask)]));
    if (different.size < 2 * all.length) {
      throw new ProtocolError(
        "Expected different keys of all phones. Received: one twice. Ask for " +
          "the next round.",
        "protocol",
      );
    }
    const format = FixedPoint.of(
      bits,
      all.map((k) => k.exponent),
    );
    const salt = await sha256(
      concat(
        ascii("keras_split secure sum 1"),
        ascii(cohort),
        uint64(round),
        ...members.map((m) => concat(uint32s(m), keys.get(m) as Uint8Array)),
      ),
    );
    return new Roster(read, format, salt);
  }

  /**
   * So many members can recover a mask, and must be there in the end.
   *
   * More than half: no two groups of members can end a sum, each its own.
   */
  get threshold(): number {
    return Math.max(FEWEST, Math.floor(this.keys.size / 2) + 1);
  }
}
