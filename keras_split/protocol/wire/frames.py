"""Envelopes as streams of frames of at most 1 MiB, and back."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from keras_split.errors import ProtocolError
from keras_split.protocol.wire import frame
from keras_split.protocol.wire import split_pb2 as pb

CHUNK_BYTES = 1 << 20
_OBJECT_BYTES = 144  # what Python adds to a chunk, and needs to join it
_LONG = 1 << 16  # a view of a shorter chunk would be large beside it


def split(envelope: pb.Envelope, payload: list[Any]) -> Iterator[bytes]:
    """Cuts an envelope and its payload into frames.

    Args:
        envelope: Without a payload of its own.
        payload: Buffers of bytes; each is copied once, into its frames.
    """
    pieces = _cut(payload)
    envelope.ClearField("payload")
    yield frame.envelope(envelope, next(pieces, []))
    for chunk in pieces:
        yield frame.chunk(chunk)


def nbytes(envelope: pb.Envelope, payload: list[Any]) -> int:
    """The bytes of all frames that `split` makes, without making them."""
    first, *others = [sum(map(len, group)) for group in _cut(payload)] or [0]
    return (
        len(frame.envelope_start(envelope, first))
        + first
        + sum(len(frame.chunk_start(other)) + other for other in others)
    )


def join(
    frames: Iterable[bytes],
    limit: int,
    take: Callable[[int], bool] = lambda nbytes: True,
) -> Iterator[tuple[pb.Envelope, Any]]:
    """Puts frames together again: envelopes and their whole payloads.

    Memory is spent on what has come, never on what was only announced. A
    payload over the limit, or one that there is no room for, is read past
    without being kept; its envelope comes with None.

    Args:
        frames: What arrives, as bytes.
        limit: The longest payload that is kept.
        take: Asked for room before bytes of a payload are kept.

    Raises:
        ProtocolError: With reason `"truncated"`, if the frames are not those
            of whole envelopes, or `"unreadable"`, if they are none; the
            stream cannot be followed any further.
    """
    stream = iter(frames)
    for raw in stream:
        # In a function of its own, so that nothing is held between messages.
        yield _whole(raw, stream, limit, take)


def _cut(payload: list[Any]) -> Iterator[list[memoryview]]:
    """The pieces of a payload, as groups of a chunk's length."""
    group: list[memoryview] = []
    room = CHUNK_BYTES
    for piece in payload:
        view = memoryview(piece)
        while len(view):
            group.append(view[:room])
            view = view[room:]
            room -= len(group[-1])
            if not room:
                yield group
                group, room = [], CHUNK_BYTES
    if group:
        yield group


def _whole(
    raw: bytes,
    stream: Iterator[bytes],
    limit: int,
    take: Callable[[int], bool],
) -> tuple[pb.Envelope, Any]:
    envelope, payload = frame.read(raw)
    if envelope is None:
        raise ProtocolError(
            "Expected an envelope. Received: a chunk that belongs to no "
            "envelope.",
            "truncated",
        )
    size = envelope.payload_bytes
    filled = len(payload)
    keep = size <= limit and take(filled)
    # Joined at the end: a buffer that grows is moved about (2.4 MB and back
    # 15 ms, so 9 ms), one of the announced size is theirs to ask for.
    pieces = [payload] if keep and filled < size else []
    while filled < size:
        following = next(stream, None)
        if following is None:
            raise ProtocolError(
                f"Expected a payload of {size:,} bytes. Received: "
                f"{filled:,} and the end of the stream.",
                "truncated",
            )
        other, chunk = frame.read(following)
        if other is not None:
            chunk = b""
        if not chunk or filled + len(chunk) > size:
            raise ProtocolError(
                f"Expected {size - filled:,} more bytes of payload. "
                f"Received: {len(chunk):,}.",
                "truncated",
            )
        filled += len(chunk)
        if keep and not take(len(chunk) + _OBJECT_BYTES):
            keep = False
            pieces.clear()
        if keep:
            pieces.append(chunk if len(chunk) >= _LONG else bytes(chunk))
    if filled != size:
        raise ProtocolError(
            f"Expected a payload of {size:,} bytes. Received: {filled:,}.",
            "truncated",
        )
    if not keep:
        return envelope, None
    return envelope, b"".join(pieces) if pieces else payload
