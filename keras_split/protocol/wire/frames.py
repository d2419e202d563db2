"""Envelopes as streams of frames of at most 1 MiB, and back.

Frames are read and written by hand where they are long. Protobuf copies a
payload each time that it is set, serialized, parsed or read; here it is copied
once on its way out and not at all on its way in. The bytes are those that
protobuf writes, and what it would not have written so is left to it.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.message import Message

from keras_split.errors import ProtocolError
from keras_split.protocol.wire import split_pb2 as pb

CHUNK_BYTES = 1 << 20  # of payload in a frame, at most
# Of an envelope but for its payload. Each two bytes may become an object of
# Python's, so this is checked before protobuf reads any of it.
DESCRIPTION_BYTES = 1 << 16
_OBJECT_BYTES = 144  # what Python adds to a chunk, and needs to join it
_LONG_CHUNK = 1 << 16  # a view of a shorter chunk would be large beside it
_M = TypeVar("_M", bound=Message)
_ENVELOPE = b"\x0a"  # Frame.envelope = 1, with a length
_CHUNK = b"\x12"  # Frame.chunk = 2, with a length
_PAYLOAD = b"\xfa\x01"  # Envelope.payload = 31, with a length
_LONG_FRAME = 1 << 12  # shorter ones are protobuf's, which is faster with them
_FIELDS = 4  # an envelope has three; a long list of others is an attack
_Pieces = Sequence[Any]
_Whole = tuple[pb.Envelope, Any]


# -- streams of frames ---------------------------------------------------------


def split(envelope: pb.Envelope, payload: list[Any]) -> Iterator[bytes]:
    """Cuts an envelope and its payload into frames.

    Args:
        envelope: Without a payload of its own.
        payload: Buffers of bytes; each is copied once, into its frames.
    """
    pieces = _cut(payload)
    envelope.ClearField("payload")
    yield envelope_frame(envelope, next(pieces, []))
    for chunk in pieces:
        yield chunk_frame(chunk)


def nbytes(envelope: pb.Envelope, payload: list[Any]) -> int:
    """The bytes of all frames that `split` makes, without making them."""
    first, *others = [sum(map(len, group)) for group in _cut(payload)] or [0]
    return (
        len(envelope_start(envelope, first))
        + first
        + sum(len(chunk_start(other)) + other for other in others)
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
    joining = joiner(limit, take)
    for raw in frames:
        arrived = joining.send(raw)
        if arrived is not None:
            yield arrived
        del arrived  # nothing is held between messages
    with contextlib.suppress(StopIteration):
        joining.send(None)


def joiner(
    limit: int, take: Callable[[int], bool] = lambda nbytes: True
) -> Generator[_Whole | None, bytes | None, None]:
    """Puts frames together again, for who is given them one by one.

    It is sent frames, and None at their end; it gives an envelope with its
    payload, as `join` does, with the last frame of each.

    Raises:
        ProtocolError: As `join`; at the end, too, if a message is not whole.
    """
    joining = _joiner(limit, take)
    next(joining)
    return joining


def _joiner(
    limit: int, take: Callable[[int], bool]
) -> Generator[_Whole | None, bytes | None, None]:
    raw = yield None
    while raw is not None:
        # In a function of its own, so that nothing is held between messages.
        raw = yield (yield from _whole(raw, limit, take))


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
    raw: bytes, limit: int, take: Callable[[int], bool]
) -> Generator[None, bytes | None, _Whole]:
    envelope, payload = read_frame(raw)
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
        following = yield
        if following is None:
            raise ProtocolError(
                f"Expected a payload of {size:,} bytes. Received: "
                f"{filled:,} and the end of the stream.",
                "truncated",
            )
        other, chunk = read_frame(following)
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
            pieces.append(chunk if len(chunk) >= _LONG_CHUNK else bytes(chunk))
    if filled != size:
        raise ProtocolError(
            f"Expected a payload of {size:,} bytes. Received: {filled:,}.",
            "truncated",
        )
    if not keep:
        return envelope, None
    return envelope, b"".join(pieces) if pieces else payload


# -- one frame ----------------------------------------------------------------


def envelope_frame(head: pb.Envelope, pieces: _Pieces) -> bytes:
    """The frame of an envelope and the beginning of its payload.

    Args:
        head: The envelope, without a payload.
        pieces: Buffers of bytes, put one behind the other.
    """
    start = envelope_start(head, sum(map(len, pieces)))
    return b"".join((start, *pieces))


def envelope_start(head: pb.Envelope, nbytes: int) -> bytes:
    """What comes before `nbytes` bytes of payload in the frame of both."""
    described = head.SerializeToString()
    field = _PAYLOAD + _varint(nbytes) if nbytes else b""
    whole = _varint(len(described) + len(field) + nbytes)
    return b"".join((_ENVELOPE, whole, described, field))


def begins(raw: bytes) -> bool:
    """Whether a frame that `split` made is the first of its message."""
    return raw[:1] == _ENVELOPE


def chunk_frame(pieces: _Pieces) -> bytes:
    """The frame of what follows."""
    return b"".join((chunk_start(sum(map(len, pieces))), *pieces))


def chunk_start(nbytes: int) -> bytes:
    """What comes before `nbytes` bytes of payload in that frame."""
    return _CHUNK + _varint(nbytes)


def read_frame(raw: bytes) -> tuple[pb.Envelope | None, Any]:
    """The inverse of both: the envelope, if it is one, and bytes of payload.

    Long payloads are views of `raw`.

    Raises:
        ProtocolError: With reason `"unreadable"`, if `raw` is no frame, or
            `"size"`, if it describes its payload at too great a length.
    """
    if len(raw) >= _LONG_FRAME:
        start = _rest(raw, 1)
        if start and raw[:1] == _CHUNK:
            return None, memoryview(raw)[start:]
        found = _payload(raw, start) if start and raw[:1] == _ENVELOPE else None
        if found is not None:
            end, begin = found
            _check_description(end - start)
            return parse(pb.Envelope, raw[start:end]), memoryview(raw)[begin:]
        _check_description(len(raw))
    frame = parse(pb.Frame, raw)
    if frame.WhichOneof("kind") == "envelope":
        return frame.envelope, frame.envelope.payload
    return None, frame.chunk


def read_envelope(raw: bytes) -> pb.Envelope:
    """An envelope with its payload in it, of bytes of anybody.

    Raises:
        ProtocolError: With reason `"unreadable"`, if `raw` is none, or
            `"size"`, if it describes its payload at too great a length.
    """
    if len(raw) > DESCRIPTION_BYTES:
        found = _payload(raw, 0)
        _check_description(len(raw) if found is None else found[0])
    return parse(pb.Envelope, raw)


def _check_description(nbytes: int) -> None:
    if nbytes > DESCRIPTION_BYTES:
        raise ProtocolError(
            f"Expected at most {DESCRIPTION_BYTES:,} bytes that describe a "
            f"message, and its payload behind them. Received: {nbytes:,} "
            "bytes. Send fields in the order of their numbers, and numbers in "
            "the payload.",
            "size",
        )


def parse(kind: type[_M], raw: bytes) -> _M:
    """A protobuf message of bytes that anybody may have sent.

    Raises:
        ProtocolError: With reason `"unreadable"`, if they are none.
    """
    try:
        message = kind()
        message.ParseFromString(raw)
        return message
    except DecodeError as error:
        raise ProtocolError(
            f"Expected a {kind.__name__} of protobuf. Received: {len(raw):,} "
            "bytes that are none. Look at the version of the stubs.",
            "unreadable",
        ) from error


def _payload(raw: bytes, position: int) -> tuple[int, int] | None:
    """Where the last field of an envelope begins, and what is in it.

    None if that is not the payload, or if what is before it looks unusual.
    """
    for _ in range(_FIELDS):
        if raw.startswith(_PAYLOAD, position):
            begin = _rest(raw, position + len(_PAYLOAD))
            return (position, begin) if begin else None
        tag, position = _number(raw, position)
        if not position or tag & 7 not in (0, 2):
            return None
        value, position = _number(raw, position)
        if tag & 7 == 2:
            position += value
        if not position or position >= len(raw):
            return None
    return None


def _rest(raw: bytes, position: int) -> int:
    """Where a field begins that has the rest of `raw`; 0 if it has not."""
    nbytes, start = _number(raw, position)
    return start if start + nbytes == len(raw) else 0


def _number(raw: bytes, position: int) -> tuple[int, int]:
    """A varint of up to five bytes and what is behind it; 0 if it is none."""
    value = 0
    for i, byte in enumerate(raw[position : position + 5]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, position + i + 1
    return 0, 0


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
