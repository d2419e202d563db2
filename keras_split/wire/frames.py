"""Envelopes as streams of frames of at most 1 MiB, and back."""

from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from keras_split.errors import ProtocolError
from keras_split.wire import split_pb2 as pb

CHUNK_BYTES = 1 << 20


def split(envelope: pb.Envelope, payload: list[Any]) -> Iterator[pb.Frame]:
    """Cuts an envelope and its payload into frames."""
    whole = memoryview(b"".join(payload))
    envelope.payload = bytes(whole[:CHUNK_BYTES])
    yield pb.Frame(envelope=envelope)
    for start in range(CHUNK_BYTES, len(whole), CHUNK_BYTES):
        yield pb.Frame(chunk=bytes(whole[start : start + CHUNK_BYTES]))


def join(
    frames: Iterable[pb.Frame], limit: int
) -> Iterator[tuple[pb.Envelope, Any]]:
    """Puts frames together again: envelopes and their whole payloads.

    A payload over the limit is read past without being kept; its envelope
    comes with None.

    Raises:
        ProtocolError: With reason `"truncated"`, if the frames are not those
            of whole envelopes; the stream cannot be followed any further.
    """
    stream = iter(frames)
    for frame in stream:
        if frame.WhichOneof("kind") != "envelope":
            raise ProtocolError(
                "Expected an envelope. Received: a chunk that belongs to no "
                "envelope.",
                "truncated",
            )
        envelope = frame.envelope
        size = envelope.payload_bytes
        keep = size <= limit
        payload: Any = envelope.payload
        filled = len(payload)
        if filled < size and keep:
            payload = bytearray(size)
            payload[:filled] = envelope.payload
        while filled < size:
            following = next(stream, None)
            if following is None:
                raise ProtocolError(
                    f"Expected a payload of {size:,} bytes. Received: "
                    f"{filled:,} and the end of the stream.",
                    "truncated",
                )
            chunk = following.chunk
            if not chunk or filled + len(chunk) > size:
                raise ProtocolError(
                    f"Expected {size - filled:,} more bytes of payload. "
                    f"Received: {len(chunk):,}.",
                    "truncated",
                )
            if keep:
                payload[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        if filled != size:
            raise ProtocolError(
                f"Expected a payload of {size:,} bytes. Received: {filled:,}.",
                "truncated",
            )
        yield envelope, payload if keep else None
