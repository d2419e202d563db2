/** A half as one vector, as messages of a cohort carry it. */
import { create } from "@bufbuild/protobuf";
import { ProtocolError } from "../errors.js";
import { type Tensor, TensorSchema } from "../gen/split_pb.js";
import type { Codec } from "../wire/codecs.js";
import { unpack } from "../wire/envelope.js";
import type { Bits } from "./fixed_point.js";

const NAME = "half";

/** What a message says of a vector, and its bytes. */
export interface Packed {
  readonly tensors: Tensor[];
  readonly payload: Uint8Array;
}

/** A vector as a message carries it: one tensor of shape `(1, size)`. */
export function packVector(vector: Float32Array, codec: Codec): Packed {
  return pack(vector, vector.length, "float32", codec);
}

/** The same of numbers under masks: one word of 32 bits each, or two. */
export function packMasked(
  words: Uint32Array,
  bits: Bits,
  codec: Codec,
): Packed {
  return pack(words, (words.length * 32) / bits, `uint${bits}`, codec);
}

/**
 * The one vector of a message.
 *
 * @param size How many numbers it must have.
 * @throws ProtocolError With reason `shape`, if it is none of that size,
 *   `not-finite`, or `codec`.
 */
export function unpackVector(
  tensors: readonly Tensor[],
  payload: Uint8Array,
  size: number,
  codec: Codec,
): Float32Array {
  const [tensor] = tensors;
  const shape = tensor?.codesShape.map(Number) ?? [];
  if (
    tensor === undefined ||
    tensors.length > 1 ||
    tensor.dtype !== "float32" ||
    shape.join() !== `1,${size}` ||
    tensor.scaleRows !== 0n
  ) {
    const received = tensors.map((t) => `${t.dtype} (${t.codesShape.join()})`);
    throw new ProtocolError(
      `Expected one vector of shape (1, ${size}) and dtype float32. ` +
        `Received: ${received.join(", ") || "none"}. Install the same ` +
        "keras_split on the phone and on the server.",
      "shape",
    );
  }
  const vector = unpack(tensors, payload, codec)[0]?.codes as Float32Array;
  if (!vector.every(Number.isFinite)) {
    throw new ProtocolError(
      "Expected finite numbers in a half. Received: NaN or infinity. Lower " +
        "the learning rate.",
      "not-finite",
    );
  }
  return vector;
}

function pack(
  numbers: Float32Array | Uint32Array,
  size: number,
  dtype: string,
  codec: Codec,
): Packed {
  const { buffer, byteOffset, byteLength } = numbers;
  const payload = codec.encode(new Uint8Array(buffer, byteOffset, byteLength));
  const shape = [1n, BigInt(size)];
  const tensor = create(TensorSchema, {
    name: NAME,
    shape,
    dtype,
    codesShape: shape,
    codesBytes: BigInt(payload.length),
  });
  return { tensors: [tensor], payload };
}
