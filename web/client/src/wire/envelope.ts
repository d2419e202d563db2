/**
 * Envelopes: a message that describes tensors, and their bytes behind it.
 *
 * In the payload stand, for each tensor in the order in which the message has
 * them, its packed codes, then its scales as they are.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { ProtocolError, RefusedError } from "../errors.js";
import {
  type Envelope,
  EnvelopeSchema,
  TensorSchema,
  type Tensor as WireTensor,
} from "../gen/split_pb.js";
import {
  bytesOf,
  type CutTensor,
  dtypeOf,
  fromBytes,
  isDType,
  volume,
} from "../tensors.js";
import type { Codec } from "./codecs.js";

/** The oneof of an envelope: `{ case: "forward", value: ... }`. */
export type Message = Envelope["message"];
/** The name of a message, such as `"forward"`. */
export type Kind = Exclude<Message["case"], undefined>;
/** The message of a name. */
export type MessageOf<K extends Kind> = Extract<Message, { case: K }>["value"];

const WIDTH = { float32: 4, int32: 4, uint8: 1 } as const;

/** An envelope of a message, and of the bytes that its tensors describe. */
export function envelopeOf(
  message: Message,
  payload: Uint8Array = new Uint8Array(),
): Envelope {
  return create(EnvelopeSchema, {
    message,
    payload,
    payloadBytes: BigInt(payload.length),
  });
}

/** Tensors as a message describes them, and their bytes. */
export function pack(
  tensors: readonly CutTensor[],
  codec: Codec,
): { described: WireTensor[]; payload: Uint8Array } {
  const pieces: Uint8Array[] = [];
  const described = tensors.map((tensor) => {
    const codes = codec.encode(bytesOf(tensor.codes));
    pieces.push(codes);
    if (tensor.scales) pieces.push(bytesOf(tensor.scales));
    return create(TensorSchema, {
      name: tensor.name,
      shape: tensor.shape.map(BigInt),
      dtype: dtypeOf(tensor.codes),
      codesShape: tensor.codesShape.map(BigInt),
      codesBytes: BigInt(codes.length),
      scaleRows: BigInt((tensor.scales?.length ?? 0) / 2),
    });
  });
  return { described, payload: joined(pieces) };
}

/**
 * Tensors of a message.
 *
 * @throws ProtocolError If description and payload do not agree; no room has
 *   been made for tensors that do not.
 */
export function unpack(
  described: readonly WireTensor[],
  payload: Uint8Array,
  codec: Codec,
): CutTensor[] {
  let at = 0;
  const take = (nbytes: number) => {
    if (nbytes > payload.length - at) throw truncated(at + nbytes, payload);
    at += nbytes;
    return payload.subarray(at - nbytes, at);
  };
  const tensors = described.map((tensor) => {
    const codesShape = tensor.codesShape.map(Number);
    if (!isDType(tensor.dtype)) {
      throw new ProtocolError(
        `Expected ${tensor.name} as float32, int32 or uint8. Received: ` +
          `${tensor.dtype}. Use the client.json that the server serves.`,
        "shape",
      );
    }
    const nbytes = volume(codesShape) * WIDTH[tensor.dtype];
    const packed = take(Number(tensor.codesBytes));
    const codes = fromBytes(tensor.dtype, codec.decode(packed, nbytes));
    const rows = Number(tensor.scaleRows);
    return {
      name: tensor.name,
      shape: tensor.shape.map(Number),
      codes,
      codesShape,
      ...(rows > 0 && {
        scales: fromBytes("float32", take(8 * rows)) as Float32Array,
      }),
    };
  });
  if (at !== payload.length) throw truncated(at, payload);
  return tensors;
}

/**
 * The message of a reply, if it is of the kind that was asked for.
 *
 * @throws RefusedError If the server refused what it answers.
 * @throws ProtocolError If it is of another kind.
 */
export function expectKind<K extends Kind>(
  reply: Envelope,
  kind: K,
): MessageOf<K> {
  const { message } = reply;
  if (message.case === "refusal") {
    throw new RefusedError(message.value.text, message.value.reason);
  }
  if (BigInt(reply.payload.length) !== reply.payloadBytes) {
    throw truncated(Number(reply.payloadBytes), reply.payload);
  }
  if (message.case !== kind) {
    throw new ProtocolError(
      `Expected ${kind} in answer. Received: ${message.case ?? "nothing"}. ` +
        "Install the same version of keras_split on both sides.",
      "protocol",
    );
  }
  return message.value as MessageOf<K>;
}

/** How many bytes an envelope takes on the wire. */
export function nbytesOf(envelope: Envelope): number {
  const { payload } = envelope;
  const rest = toBinary(EnvelopeSchema, {
    ...envelope,
    payload: new Uint8Array(),
  });
  // Behind them a tag of two bytes, the length, and the payload.
  let length = 1;
  for (let left = payload.length; left > 127; left >>>= 7) length++;
  return rest.length + (payload.length && 2 + length + payload.length);
}

function truncated(expected: number, payload: Uint8Array): ProtocolError {
  return new ProtocolError(
    `Expected a payload of ${expected} bytes, as its message says. ` +
      `Received: ${payload.length}. The data was damaged on its way.`,
    "truncated",
  );
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
