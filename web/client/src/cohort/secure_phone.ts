/**
 * A phone's part in a secure sum.
 *
 * Bonawitz et al. 2017 (10.1145/3133956.3133982), for a server that keeps to
 * the protocol: pairwise masks that cancel out in the sum, a mask of each
 * phone's own over them, and shares of the secrets behind both, so that a sum
 * can be ended without phones that are gone. The server is told one or the
 * other secret of a phone, never both.
 */

import { ProtocolError } from "../errors.js";
import {
  type Blobs,
  type Bytes,
  concat,
  randomBytes,
  same,
  sha256,
} from "./bytes.js";
import { type Bits, checkRange, exponent } from "./fixed_point.js";
import { addStream, derive, maskPrivate, pairKey, selfKey } from "./masks.js";
import { Roster, writeKeys } from "./roster.js";
import {
  type Random,
  SECRET_BYTES,
  SHARE_BYTES,
  seal,
  sealedBytes,
  split,
  unseal,
} from "./secret_sharing.js";
import { agree, KEY_BYTES, publicKey } from "./x25519.js";

// What a member sends to another: an envelope with a share of its mask key and
// one of its own mask's secret, and behind it a digest of each for the server.
const SEALED_BYTES = sealedBytes(2 * SHARE_BYTES);

/** What a phone brings to a sum. */
export interface Summand {
  /** Name of the cohort. */
  readonly cohort: string;
  /** Number of the sum there. */
  readonly round: bigint;
  /** Number of this phone. */
  readonly member: number;
  /** What is to be added up, shape `(size,)`. */
  readonly vector: Float32Array;
  /** Its examples; 0 to listen only. */
  readonly weight: number;
  /** Of the numbers under masks. */
  readonly bits: Bits;
}

interface Secrets {
  readonly seal: Uint8Array;
  readonly mask: Uint8Array;
  readonly own: Uint8Array;
}

/**
 * One phone in one sum: its four stages, each once and in this order.
 *
 * The server passes on what the phones give. What it passes on must fit
 * together, or the phone goes no further, and the server gets no sum.
 */
export class SecurePhone {
  private stage: "keys" | "shares" | "value" = "keys";
  private roster: Roster | undefined;
  private sealers: ReadonlySet<number> = new Set();
  private told: ReadonlySet<number> | undefined;
  private readonly pairs = new Map<number, Uint8Array>();

  private constructor(
    private readonly what: Summand,
    private readonly secrets: Secrets,
    private readonly random: Random,
    private readonly ownKeys: Bytes,
  ) {}

  /**
   * A phone with secrets of this sum.
   *
   * @param what It brings.
   * @param random Makes the secrets.
   * @throws QuantizationError If the vector or the weight does not fit.
   */
  static async create(
    what: Summand,
    random: Random = randomBytes,
  ): Promise<SecurePhone> {
    checkRange(what.vector, what.bits);
    const weight = exponent(what.weight, what.bits);
    const secrets = {
      seal: random(KEY_BYTES),
      mask: random(SECRET_BYTES),
      own: random(SECRET_BYTES),
    };
    const keys = writeKeys({
      seal: await publicKey(secrets.seal),
      mask: await publicKey(await maskPrivate(secrets.mask)),
      digest: await sha256(secrets.own),
      exponent: weight,
    });
    return new SecurePhone(what, secrets, random, keys);
  }

  /** Its public keys, for all others. */
  keys(): Bytes {
    return this.ownKeys;
  }

  /**
   * Shares of its secrets, sealed for each other member.
   *
   * @param keys Of all members, this one too.
   * @throws ProtocolError With reason `late`, if they are too few or this
   *   phone is none of them; else if the keys cannot be.
   * @throws QuantizationError If their weights leave no room.
   */
  async shares(keys: Blobs): Promise<Map<number, Bytes>> {
    if (this.stage !== "keys")
      throw changed("keys once", "keys of another sum");
    const { cohort, round, member, bits } = this.what;
    const own = keys.get(member);
    if (own === undefined || !same(own, this.ownKeys)) {
      throw changed("the keys that this phone gave", "others", "late");
    }
    const roster = await Roster.read(cohort, round, bits, keys);
    this.stage = "shares";
    this.roster = roster;
    const count = roster.keys.size;
    const [masks, owns] = [this.secrets.mask, this.secrets.own].map((secret) =>
      split(secret, roster.threshold, count, this.random),
    ) as [Bytes[], Bytes[]];
    const sealed = new Map<number, Bytes>();
    for (const [place, other] of [...roster.keys.keys()].entries()) {
      const pair = concat(masks[place] as Bytes, owns[place] as Bytes);
      if (other === member) {
        this.pairs.set(member, pair);
        continue;
      }
      const key = await this.sealKey(roster, other, member, other);
      const envelope = await seal(key, pair);
      sealed.set(other, concat(envelope, await digests(pair)));
    }
    return sealed;
  }

  /**
   * Its vector under masks.
   *
   * @param members Who gave shares, this phone too.
   * @param shares What each of them sealed for this phone.
   * @returns `size + 1` numbers of one or two words, see `FixedPoint.encode`:
   *   evenly random for who has not the masks.
   * @throws ProtocolError With reason `late`, if they are too few; else if
   *   they are none of the sum.
   */
  async value(
    members: Iterable<number>,
    shares: Blobs,
  ): Promise<Uint32Array<ArrayBuffer>> {
    const { roster } = this;
    if (roster === undefined || this.stage !== "shares") {
      throw changed("shares once, behind keys", "shares");
    }
    const sealers = new Set(members);
    this.check(sealers, roster.keys, roster);
    this.stage = "value";
    this.sealers = sealers;
    const { member, vector, weight, bits } = this.what;
    const masked = roster.format.encode(vector, weight);
    const ownKey = await selfKey(this.secrets.own, roster.salt, member);
    await addStream(masked, bits, ownKey);
    const secret = await maskPrivate(this.secrets.mask);
    for (const other of sealers) {
      if (other === member) continue;
      const lower = Math.min(member, other);
      const higher = Math.max(member, other);
      const mask = keysOf(roster, other).mask;
      const key = await pairKey(secret, mask, roster.salt, lower, higher);
      await addStream(masked, bits, key, { subtract: member === higher });
      await this.open(roster, other, shares.get(other));
    }
    return masked;
  }

  /**
   * Shares that take the masks off the sum of some members.
   *
   * Of those whose values are in the sum it is a share of the secret of their
   * own mask, of those who are gone since a share of their mask key. Shares of
   * both would show a single vector, so this phone says once who is gone.
   *
   * @param members Whose values are in, this phone's too.
   * @returns Shares by member; none of one who sent a wrong envelope.
   * @throws ProtocolError With reason `late`, if they are too few; else if
   *   they were not among those before, or others were said.
   */
  unmask(members: Iterable<number>): Map<number, Uint8Array> {
    const { roster } = this;
    if (roster === undefined || this.stage !== "value") {
      throw changed("values behind shares", "values");
    }
    const summed = new Set(members);
    if (this.told !== undefined && !sameSet(this.told, summed)) {
      throw changed("the members that are in the sum", "others");
    }
    this.check(summed, this.sealers, roster);
    this.told = summed;
    return new Map(
      [...this.pairs].map(([other, pair]) => [
        other,
        summed.has(other)
          ? pair.slice(SHARE_BYTES)
          : pair.slice(0, SHARE_BYTES),
      ]),
    );
  }

  /** Refuses members that this phone cannot end the sum with. */
  private check(
    members: ReadonlySet<number>,
    among: { has(member: number): boolean },
    roster: Roster,
  ): void {
    if (![...members].every((member) => among.has(member))) {
      throw changed("members of this sum", "others among them");
    }
    if (!members.has(this.what.member) || members.size < roster.threshold) {
      throw changed(
        `${roster.threshold} phones or more of ${roster.keys.size} in a sum, ` +
          "this one among them",
        `${members.size}`,
        "late",
      );
    }
  }

  /**
   * Keeps what another member sealed; nothing if it is wrong.
   *
   * The sum can be ended without one share or another.
   */
  private async open(
    roster: Roster,
    other: number,
    blob: Uint8Array = new Uint8Array(0),
  ): Promise<void> {
    const key = await this.sealKey(roster, other, other, this.what.member);
    const pair = await unseal(key, blob.slice(0, SEALED_BYTES));
    // The server would refuse shares that have other digests.
    if (pair && same(blob.slice(SEALED_BYTES), await digests(pair))) {
      this.pairs.set(other, pair);
    }
  }

  private async sealKey(
    roster: Roster,
    other: number,
    sender: number,
    recipient: number,
  ): Promise<Bytes> {
    const shared = await agree(this.secrets.seal, keysOf(roster, other).seal);
    const label = "keras_split seal";
    return derive(shared, roster.salt, label, sender, recipient);
  }
}

function keysOf(roster: Roster, member: number) {
  const keys = roster.keys.get(member);
  if (keys === undefined) throw changed("members of this sum", `${member}`);
  return keys;
}

/** Those of two shares, each for itself. */
async function digests(pair: Uint8Array): Promise<Bytes> {
  const shares = [pair.slice(0, SHARE_BYTES), pair.slice(SHARE_BYTES)];
  return concat(...(await Promise.all(shares.map(sha256))));
}

function sameSet(
  one: ReadonlySet<number>,
  other: ReadonlySet<number>,
): boolean {
  return one.size === other.size && [...one].every((x) => other.has(x));
}

function changed(
  expected: string,
  received: string,
  reason = "protocol",
): ProtocolError {
  return new ProtocolError(
    `Expected ${expected}. Received: ${received}. This phone gives nothing ` +
      "more to this sum; ask for the next round.",
    reason,
  );
}
