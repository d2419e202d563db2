"""Messages as bytes, one by one: what carries no stream sends these."""

from keras_split.compression.codecs import Codec
from keras_split.protocol.messages import Message
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire.frames import parse

LIMIT_BYTES = 1 << 31


def encode(message: Message, codec: Codec) -> bytes:
    """A message as an `Envelope` of `split.proto` with its payload in it.

    Args:
        message: Any of `keras_split.protocol.messages`.
        codec: Packs the codes, as the contract says.
    """
    envelope, pieces = convert.to_wire(message, codec)
    return join(envelope, pieces)


def decode(raw: bytes, codec: Codec, limit: int = LIMIT_BYTES) -> Message:
    """The inverse of `encode`, of bytes that anybody may have sent.

    Args:
        raw: What came.
        codec: Decodes the codes.
        limit: Bytes that the decoded tensors may take together.

    Raises:
        ProtocolError: If they are no message, or one that contradicts
            itself. Nothing has been allocated for tensors that do.
    """
    envelope = parse(pb.Envelope, raw)
    return convert.from_wire(envelope, envelope.payload, codec, limit)


def join(envelope: pb.Envelope, pieces: list[bytes]) -> bytes:
    """An envelope and the pieces of its payload as one."""
    envelope.payload = b"".join(pieces)
    return envelope.SerializeToString()
