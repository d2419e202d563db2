/** A phone's way through an average that the server cannot read. */
import { create } from "@bufbuild/protobuf";
import { ProtocolError, RefusedError } from "../errors.js";
import {
  type CohortInfo,
  ContributionSchema,
  type Gathered,
} from "../gen/split_pb.js";
import type { Reply } from "../session.js";
import type { Codec } from "../wire/codecs.js";
import type { Blobs } from "./bytes.js";
import { bitsOf } from "./fixed_point.js";
import type { Asking } from "./phone.js";
import { SecurePhone } from "./secure_phone.js";
import { type Packed, packMasked } from "./vectors.js";

/** What became of an average. */
export type Average = Reply<"gathered">;

const TRIES = 10; // servers that are killed in the middle of one average

/**
 * Refuses a server that could read a phone's half.
 *
 * @throws RefusedError With reason `cohort`.
 */
export function checkSecure(info: CohortInfo): void {
  if (info.secure) return;
  throw new RefusedError(
    "Expected a server that adds up halves under masks. Received: one that " +
      `could read those of its ${info.phones} phones. Start it for three ` +
      "phones or more, without --plain-aggregation, or train without " +
      "requireSecure.",
    "cohort",
  );
}

/** Averages vectors that only this phone knows. */
export class SecureAveraging {
  // Of the latest round: who is in the sum that this phone unmasked.
  private unmasked: { round: bigint; members: string } | undefined;

  constructor(
    private readonly server: Asking,
    private readonly codec: Codec,
  ) {}

  /**
   * What all phones' vectors are in the mean.
   *
   * A server that was started again in the middle has forgotten the stages
   * before; then all begin with other keys.
   *
   * @param info Says what the server says of the cohort now.
   * @param member Number of this phone.
   * @param round Number of the average.
   * @param vector Shape `(size,)`.
   * @param weight Its examples; 0 to listen only.
   * @param signal Ends the waiting for others.
   * @throws QuantizationError If a number does not fit.
   * @throws RefusedError With reason `late`, if it is over; else if what the
   *   server says does not fit together.
   */
  async average(
    info: () => CohortInfo,
    member: number,
    round: bigint,
    vector: Float32Array,
    weight: number,
    signal?: AbortSignal,
  ): Promise<Average> {
    for (let tries = 1; ; tries++) {
      const { name: cohort, bits } = info();
      checkSecure(info());
      try {
        const phone = await SecurePhone.create({
          ...{ cohort, round, member, vector, weight },
          bits: bitsOf(bits),
        });
        return await this.stages(phone, member, round, bitsOf(bits), signal);
      } catch (error) {
        if (error instanceof ProtocolError) {
          throw new RefusedError(error.message, error.reason, { cause: error });
        }
        const begun = error instanceof RefusedError && error.reason === "order";
        if (!begun || tries === TRIES) throw error;
      }
    }
  }

  private async stages(
    phone: SecurePhone,
    member: number,
    round: bigint,
    bits: 32 | 64,
    signal?: AbortSignal,
  ): Promise<Average> {
    const give = (stage: string, blobs: Blobs, vector?: Packed) =>
      this.give(round, stage, blobs, vector, signal);
    const keys = await give("keys", new Map([[member, phone.keys()]]));
    if (isOver(keys)) return keys;
    const mine = await phone.shares(blobsOf(keys.message));
    const shares = await give("shares", mine);
    if (isOver(shares)) return shares;
    const { members } = shares.message;
    const masked = await phone.value(members, blobsOf(shares.message));
    const packed = packMasked(masked, bits, this.codec);
    const value = await give("value", new Map(), packed);
    if (isOver(value)) return value;
    this.checkSame(round, value.message.members);
    return give("unmask", phone.unmask(value.message.members));
  }

  private async give(
    round: bigint,
    stage: string,
    blobs: Blobs,
    vector?: Packed,
    signal?: AbortSignal,
  ): Promise<Average> {
    const value = create(ContributionSchema, {
      round,
      stage,
      tensors: vector?.tensors ?? [],
      blobs: Object.fromEntries(blobs),
    });
    const message = { case: "contribution" as const, value };
    const payload = vector?.payload;
    const reply = await this.server.ask("gathered", message, payload, signal);
    const { message: told } = reply;
    if (told.round !== round || told.stage !== stage) {
      throw new ProtocolError(
        `Expected a reply to ${stage} of average ${round}. Received: one to ` +
          `${told.stage} of ${told.round}. Install the same keras_split on ` +
          "the phone and on the server.",
        "protocol",
      );
    }
    return reply;
  }

  /**
   * Refuses a second sum of a round over other members.
   *
   * The difference of the two would be a sum of few.
   */
  private checkSame(round: bigint, told: readonly number[]): void {
    const members = [...told].sort((one, other) => one - other).join(", ");
    const before = this.unmasked;
    if (before?.round === round && before.members !== members) {
      throw new RefusedError(
        `Expected one sum in round ${round}, over members ` +
          `${before.members}. Received: another, over ${members}; the two ` +
          "would tell more than each. Ask for the next round.",
        "late",
      );
    }
    this.unmasked = { round, members };
  }
}

/** Whether a server that came back has the average of that round already. */
function isOver(reply: Average): boolean {
  return reply.message.version >= 0n;
}

function blobsOf(message: Gathered): Map<number, Uint8Array> {
  return new Map(
    Object.entries(message.blobs).map(([m, blob]) => [Number(m), blob]),
  );
}
