import { beforeEach, describe, expect, test } from "vitest";
import { hex } from "../../src/cohort/bytes.js";
import { SecurePhone } from "../../src/cohort/secure_phone.js";
import { chance, type PhoneVectors, unhex, VECTORS } from "./vectors.js";

const COHORT = "0123456789abcdef".repeat(2);

describe.each(VECTORS.rounds)("a sum of $bits bits", (sum) => {
  const members = Object.keys(sum.phones).map(Number);
  const roster = new Map(
    members.map((m) => [m, unhex((sum.phones[m] as PhoneVectors).keys)]),
  );

  test.each(members)(
    "is at phone %d, byte for byte, that of Python",
    async (member) => {
      const { bits, cohort } = sum;
      const round = BigInt(sum.round);
      const expected = sum.phones[member] as PhoneVectors;
      const vector = Float32Array.from(expected.vector);
      const { weight } = expected;
      const phone = await SecurePhone.create(
        { cohort, round, member, vector, weight, bits },
        chance(member),
      );

      expect(hex(phone.keys())).toBe(expected.keys);
      const shares = await phone.shares(roster);
      expect(hexed(shares)).toEqual(expected.shares);
      if (expected.masked === undefined) return; // it leaves here
      const sealed = new Map(
        members
          .filter((other) => other !== member)
          .map((other) => [other, sharesOf(sum.phones, other, member)]),
      );
      const masked = await phone.value(members, sealed);
      expect(hex(new Uint8Array(masked.buffer))).toBe(expected.masked);
      expect(hexed(phone.unmask(sum.summed))).toEqual(expected.unmask);
    },
  );
});

/** Five phones and a server that passes on what they give. */
class Round {
  readonly roster = new Map<number, Uint8Array>();
  readonly given = new Map<number, Map<number, Uint8Array>>();

  private constructor(readonly phones: SecurePhone[]) {}

  static async of(...stages: ("shares" | "values")[]): Promise<Round> {
    const phones = [0, 1, 2, 3, 4].map((member) =>
      SecurePhone.create({
        cohort: COHORT,
        round: 5n,
        member,
        vector: new Float32Array(3).fill(member),
        weight: 1 + member,
        bits: 64,
      }),
    );
    const made = new Round(await Promise.all(phones));
    for (const [m, phone] of made.phones.entries()) {
      made.roster.set(m, phone.keys());
    }
    if (stages.includes("shares")) await made.shares();
    if (stages.includes("values")) await made.values();
    return made;
  }

  get first(): SecurePhone {
    return this.phones[0] as SecurePhone;
  }

  sealedFor(member: number, members = [0, 1, 2, 3, 4]) {
    const found = new Map<number, Uint8Array>();
    for (const m of members) {
      const blob = this.given.get(m)?.get(member);
      if (blob) found.set(m, blob);
    }
    return found;
  }

  async shares(): Promise<void> {
    for (const [m, phone] of this.phones.entries()) {
      this.given.set(m, await phone.shares(this.roster));
    }
  }

  async values(members = [0, 1, 2, 3, 4]): Promise<void> {
    for (const m of members) {
      await this.phones[m]?.value(members, this.sealedFor(m, members));
    }
  }
}

let round: Round;

describe("with values behind it, a phone", () => {
  beforeEach(async () => {
    round = await Round.of("shares", "values");
  });

  test("says once who is gone", () => {
    const first = round.first.unmask([0, 1, 2, 3]);

    expect(round.first.unmask([3, 2, 1, 0])).toEqual(first);
    for (const others of [
      [0, 1, 2, 4],
      [0, 1, 2],
      [0, 1, 2, 3, 4],
    ]) {
      expect(() => round.first.unmask(others)).toThrow(
        "members that are in the sum",
      );
    }
  });

  test.each([[[0, 1]], [[0]], [[]]])("unmasks no sum of few, %j", (few) => {
    expect(told(() => round.first.unmask(few))).toEqual([
      expect.stringContaining("Expected 3 phones"),
      "late",
    ]);
  });

  test("unmasks no sum without its own value", () => {
    expect(() => round.first.unmask([1, 2, 3, 4])).toThrow(
      "this one among them",
    );
  });

  test("masks nothing a second time", async () => {
    await expect(
      round.first.value([0, 1, 2, 3], round.sealedFor(0)),
    ).rejects.toThrow("Expected shares once");
  });

  test("gives of each phone one share, never both", () => {
    const unmasked = round.first.unmask([0, 1, 2]);

    expect([...unmasked.keys()].sort()).toEqual([0, 1, 2, 3, 4]);
    for (const share of unmasked.values()) expect(share.length).toBe(16);
  });
});

describe("with shares behind it, a phone", () => {
  beforeEach(async () => {
    round = await Round.of("shares");
  });

  test("unmasks nobody that gave no shares", async () => {
    await round.values([0, 1, 2, 3]);

    expect(() => round.first.unmask([0, 1, 2, 4])).toThrow(
      "members of this sum",
    );
  });

  test("masks nothing for few, or for others", async () => {
    await expect(round.first.value([0, 1], new Map())).rejects.toThrow(
      "Expected 3 phones",
    );
    await expect(round.first.value([0, 1, 2, 9], new Map())).rejects.toThrow(
      "members of this sum",
    );
  });

  test("gives no second shares, and unmasks nothing yet", async () => {
    await expect(round.first.shares(round.roster)).rejects.toThrow(
      "Expected keys once",
    );
    expect(() => round.first.unmask([0, 1, 2])).toThrow(
      "Expected values behind shares",
    );
  });

  test("goes on without shares of wrong envelopes", async () => {
    const sealed = round.sealedFor(0);
    const wrong = new Uint8Array(sealed.get(3) as Uint8Array);
    wrong[wrong.length - 1] = 1 ^ (wrong.at(-1) as number);
    sealed.set(1, new Uint8Array(3));
    sealed.delete(2);
    sealed.set(3, wrong);

    await round.first.value([0, 1, 2, 3, 4], sealed);

    expect([...round.first.unmask([0, 1, 2]).keys()]).toEqual([0, 4]);
  });
});

describe("a roster", () => {
  beforeEach(async () => {
    round = await Round.of();
  });

  test("with another key of its own is not its round", async () => {
    const other = (await Round.of()).first.keys();
    const others = [...round.roster].filter(([m]) => m !== 0);

    for (const roster of [
      new Map(round.roster).set(0, other),
      new Map(others),
    ]) {
      const error = await rejected(round.first.shares(roster));
      expect(error.message).toContain("this phone gave");
      expect(error.reason).toBe("late");
    }
  });

  test("of one, or with a key twice, is refused", async () => {
    const keys = round.roster.get(1) as Uint8Array;
    const alone = new Map([[0, round.first.keys()]]);

    const few = await rejected(round.first.shares(alone));
    expect(few.message).toContain("whose sum tells of none");
    expect(few.reason).toBe("late");
    const twice = await rejected(
      round.first.shares(new Map(round.roster).set(9, keys)),
    );
    expect(twice.message).toContain("Received: one twice");
  });

  test("with a phone whose two keys are one is refused", async () => {
    const keys = new Uint8Array(round.roster.get(1) as Uint8Array);
    keys.copyWithin(32, 0, 32);

    await expect(
      round.first.shares(new Map(round.roster).set(1, keys)),
    ).rejects.toThrow("Received: one twice");
  });

  test("with a point of small order is refused", async () => {
    const keys = new Uint8Array(round.roster.get(1) as Uint8Array);
    keys.fill(0, 0, 32);

    await expect(
      round.first.shares(new Map(round.roster).set(1, keys)),
    ).rejects.toThrow("Expected a public X25519 key");
  });

  test.each([0, 96, 100_000])("with keys of %d bytes is refused", async (n) => {
    await expect(
      round.first.shares(new Map(round.roster).set(3, new Uint8Array(n))),
    ).rejects.toThrow("97 bytes");
  });

  test("with an exponent that no weight has is refused", async () => {
    const keys = new Uint8Array(round.roster.get(1) as Uint8Array);
    keys[96] = 31;

    await expect(
      round.first.shares(new Map(round.roster).set(1, keys)),
    ).rejects.toThrow("the exponent of its weight");
  });

  test.each([-1, 2 ** 32, 0.5])("with member %d is refused", async (m) => {
    const keys = (await Round.of()).first.keys();

    await expect(
      round.first.shares(new Map(round.roster).set(m, keys)),
    ).rejects.toThrow("numbers of members that fit 4 bytes");
  });

  test("that others saw otherwise opens none of their shares", async () => {
    const seen = new Map(round.roster);
    seen.set(4, (await Round.of()).phones[4]?.keys() as Uint8Array);
    const sealed = (await round.first.shares(seen)).get(1) as Uint8Array;
    const second = round.phones[1] as SecurePhone;
    await second.shares(round.roster);

    await second.value([0, 1, 2], new Map([[0, sealed]]));

    expect([...second.unmask([0, 1, 2]).keys()]).toEqual([1]);
  });

  test("comes before shares, and shares before values", async () => {
    await expect(round.first.value([0, 1, 2], new Map())).rejects.toThrow(
      "Expected shares once",
    );
    expect(() => round.first.unmask([0, 1, 2])).toThrow(
      "Expected values behind shares",
    );
  });
});

test("what does not fit is refused before anything is told", async () => {
  const what = { cohort: COHORT, round: 0n, member: 0, weight: 1 };
  const vector = Float32Array.of(17);

  await expect(
    SecurePhone.create({ ...what, vector, bits: 32 }),
  ).rejects.toThrow("masks of 32 bits");
  await expect(
    SecurePhone.create({ ...what, vector, bits: 64, weight: -1 }),
  ).rejects.toThrow("Expected a weight");
});

function sharesOf(
  phones: Record<string, PhoneVectors>,
  sender: number,
  recipient: number,
): Uint8Array {
  return unhex((phones[sender] as PhoneVectors).shares[recipient] as string);
}

function hexed(blobs: ReadonlyMap<number, Uint8Array>) {
  return Object.fromEntries([...blobs].map(([m, blob]) => [m, hex(blob)]));
}

function told(act: () => unknown): [string, string] {
  try {
    act();
  } catch (error) {
    const { message, reason } = error as { message: string; reason: string };
    return [message, reason];
  }
  throw new Error("nothing was refused");
}

async function rejected(
  made: Promise<unknown>,
): Promise<{ message: string; reason: string }> {
  return made.then(
    () => Promise.reject(new Error("nothing was refused")),
    (error) => error,
  );
}
