import random
import tracemalloc

import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb

LIMIT = 1 << 24
SIZES = [0, 1, 127, 128, 5000, 1 << 14, 1 << 20]


def envelope(size):
    """An envelope that announces `size` bytes."""
    return pb.Envelope(snapshot=pb.Snapshot(session="s"), payload_bytes=size)


def cut(payload):
    return list(frames.split(envelope(len(payload)), [payload]))


def chunk(payload):
    return pb.Frame(chunk=payload).SerializeToString()


def announced(size):
    return pb.Frame(envelope=envelope(size)).SerializeToString()


def test_a_small_payload_travels_in_the_envelope():
    sent = cut(b"codes")

    [frame] = map(pb.Frame.FromString, sent)
    assert frame.WhichOneof("kind") == "envelope"
    assert frame.envelope.payload == b"codes"


@pytest.mark.parametrize("extra", [-1, 0, 1, frames.CHUNK_BYTES])
def test_payloads_about_the_size_of_a_chunk_come_back_whole(extra):
    payload = (
        bytes(range(251)) * 4178
    )  # a little over 1 MiB, not periodic in it
    payload = payload[: frames.CHUNK_BYTES] + b"x" * max(extra, 0)
    payload = payload[: frames.CHUNK_BYTES + extra]

    [(_, received)] = frames.join(cut(payload), LIMIT)

    assert bytes(received) == payload


def test_no_frame_is_longer_than_a_chunk_and_its_envelope():
    payload = bytes(3 * frames.CHUNK_BYTES + 7)

    sent = cut(payload)

    assert len(sent) == 4
    assert max(map(len, sent)) < frames.CHUNK_BYTES + 100


@pytest.mark.parametrize(
    "size", [0, 1, 5000, frames.CHUNK_BYTES, 3 * frames.CHUNK_BYTES + 7]
)
def test_frames_are_as_long_as_is_said_without_making_them(size):
    pieces = [bytes(size // 3), b"", bytes(size - size // 3)]

    counted = frames.nbytes(envelope(size), pieces)

    assert counted == sum(map(len, frames.split(envelope(size), pieces)))


def test_pieces_of_a_payload_are_put_in_order():
    pieces = [b"codes", memoryview(b"scales"), bytearray(b"more")]

    [raw] = frames.split(envelope(15), pieces)

    frame = pb.Frame.FromString(raw)
    assert frame.envelope.payload == b"codesscalesmore"


def test_envelopes_follow_one_another_in_a_stream():
    long = bytes(frames.CHUNK_BYTES + 1)

    received = [
        p for _, p in frames.join(cut(long) + cut(b"") + cut(b"b"), 1 << 21)
    ]

    assert [len(p) for p in received] == [len(long), 0, 1]


def test_a_payload_over_the_limit_is_read_past():
    long = bytes(2 * frames.CHUNK_BYTES)

    received = list(frames.join(cut(long) + cut(b"next"), frames.CHUNK_BYTES))

    assert [payload for _, payload in received] == [None, b"next"]
    assert received[0][0].payload_bytes == len(long)


def test_a_chunk_without_an_envelope_is_refused():
    with pytest.raises(ProtocolError, match="Expected an envelope") as info:
        list(frames.join([chunk(b"codes")], LIMIT))

    assert info.value.reason == "truncated"


def test_a_stream_that_ends_in_a_payload_is_refused():
    sent = cut(bytes(2 * frames.CHUNK_BYTES))

    with pytest.raises(ProtocolError) as info:
        list(frames.join(sent[:-1], LIMIT))

    assert info.value.reason == "truncated"
    assert str(info.value) == (
        "Expected a payload of 2,097,152 bytes. Received: 1,048,576 and the "
        "end of the stream."
    )


@pytest.mark.parametrize(
    "frame",
    [
        chunk(b""),
        chunk(b"x" * (frames.CHUNK_BYTES + 1)),
        announced(0),
        b"",
    ],
    ids=["empty", "too long", "an envelope", "nothing"],
)
def test_a_chunk_that_does_not_fit_is_refused(frame):
    sent = cut(bytes(2 * frames.CHUNK_BYTES))[:1]

    with pytest.raises(ProtocolError, match="more bytes of payload") as info:
        list(frames.join([*sent, frame], LIMIT))

    assert info.value.reason == "truncated"


def test_more_payload_than_announced_is_refused():
    frame = pb.Frame(envelope=envelope(3))
    frame.envelope.payload = b"codes"

    with pytest.raises(ProtocolError, match="of 3 bytes. Received: 5"):
        list(frames.join([frame.SerializeToString()], LIMIT))


def test_a_payload_that_is_only_announced_costs_no_more_than_the_limit():
    frame = announced(1 << 62)

    with pytest.raises(ProtocolError, match="end of the stream"):
        list(frames.join([frame], LIMIT))


def test_memory_grows_with_what_came_and_not_with_what_was_announced():
    size = 1 << 28
    sent = [announced(size)]
    sent += [chunk(bytes(frames.CHUNK_BYTES))] * 4
    stream = frames.join(iter(sent), size)

    tracemalloc.start()
    with pytest.raises(ProtocolError, match="Received: 4,194,304"):
        next(stream)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 16 << 20


def test_room_is_asked_for_each_piece_before_it_is_kept():
    asked = []
    long = bytes(2 * frames.CHUNK_BYTES + 5)

    list(
        frames.join(cut(long) + cut(b"b"), LIMIT, lambda n: not asked.append(n))
    )

    whole = frames.CHUNK_BYTES
    assert asked[::3] == [whole, 1]
    assert whole < asked[1] < whole + 200
    assert 5 < asked[2] < 205


@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_a_payload_without_room_is_read_past(pieces):
    left = pieces

    def take(nbytes):
        nonlocal left
        left -= 1
        return left >= 0

    sent = cut(bytes(3 * frames.CHUNK_BYTES)) + cut(b"")

    received = list(frames.join(sent, LIMIT, take))

    assert received[0][1] is None
    assert received[0][0].payload_bytes == 3 * frames.CHUNK_BYTES
    assert len(received) == 2


def test_nothing_is_held_while_the_next_message_is_waited_for():
    held = []

    def sent():
        yield from cut(bytes(8 << 20))
        held.append(tracemalloc.get_traced_memory()[0])
        yield from cut(b"next")

    tracemalloc.start()
    for arrived in frames.join(sent(), LIMIT):
        del arrived
    tracemalloc.stop()

    assert held[0] < 4 << 20


def test_tiny_chunks_take_the_room_that_they_really_need():
    asked = 0

    def take(nbytes):
        nonlocal asked
        asked += nbytes
        return True

    def sent():
        yield announced(20_000)
        for _ in range(10_000):
            yield chunk(b"xy")

    tracemalloc.start()
    for _ in frames.join(sent(), LIMIT, take):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < asked


def test_what_is_no_frame_is_refused():
    with pytest.raises(ProtocolError, match="are none") as info:
        list(frames.join([b"\xff" * 50], LIMIT))

    assert info.value.reason == "unreadable"


def test_a_payload_that_an_envelope_has_already_is_not_sent():
    head = envelope(5)
    head.payload = b"older"

    [raw] = frames.split(head, [b"codes"])

    assert pb.Frame.FromString(raw).envelope.payload == b"codes"


# -- one frame ----------------------------------------------------------------


def head(size=0):
    tensor = pb.Tensor(name="a", shape=[2, 3], dtype="uint8", codes_bytes=size)
    forward = pb.Forward(session="s", step=300, tensors=[tensor])
    return pb.Envelope(forward=forward, payload_bytes=size)


def by_protobuf(size):
    payload = random.Random(size).randbytes(size)
    whole = head(size)
    whole.payload = payload
    return pb.Frame(envelope=whole).SerializeToString(), payload


@pytest.mark.parametrize("size", SIZES)
def test_an_envelope_has_the_bytes_that_protobuf_gives_it(size):
    expected, payload = by_protobuf(size)
    pieces = [payload[: size // 3], memoryview(payload)[size // 3 :]]

    assert frames.envelope_frame(head(size), pieces) == expected


@pytest.mark.parametrize("size", [*SIZES[1:], (1 << 21) + 1])
def test_a_chunk_has_the_bytes_that_protobuf_gives_it(size):
    payload = random.Random(size).randbytes(size)

    raw = frames.chunk_frame([payload[:1], payload[1:]])

    assert raw == pb.Frame(chunk=payload).SerializeToString()
    assert frames.read_frame(raw) == (None, payload)


def test_an_empty_envelope_has_the_bytes_that_protobuf_gives_it():
    expected = pb.Frame(envelope=pb.Envelope()).SerializeToString()

    assert frames.envelope_frame(pb.Envelope(), []) == expected


@pytest.mark.parametrize("size", SIZES)
def test_an_envelope_is_read_as_protobuf_reads_it(size):
    raw, payload = by_protobuf(size)

    envelope, content = frames.read_frame(raw)

    envelope.ClearField("payload")
    assert (envelope, bytes(content)) == (head(size), payload)


def test_long_payloads_are_views_of_their_frame():
    raw, _ = by_protobuf(1 << 20)

    for one in (raw, frames.chunk_frame([bytes(1 << 20)])):
        _, content = frames.read_frame(one)
        assert content.obj is one


def unusual():
    """Envelopes that protobuf reads, though it does not write them so."""
    payload = b"\xfa\x01\x80\x40" + bytes(8192)
    other = b"\xfa\x01\x02ab"
    about = head(8192).SerializeToString()
    unknown = b"\xa0\x06\x01"  # field 100 = 1
    fixed = b"\xa5\x06" + bytes(4)
    wide = b"\xf0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    return {
        "the payload first": payload + about,
        "two payloads": other + about + payload,
        "the short one last": payload + about + other,
        "an unknown field": unknown + about + payload,
        "unknown fields": unknown * 9 + about + payload,
        "another kind of field": fixed + about + payload,
        "a large number": about + wide + payload,
        "two messages": about + about + payload,
    }


@pytest.mark.parametrize("envelope", unusual().values(), ids=unusual())
@pytest.mark.parametrize("behind", [b"", b"\xa0\x06\x01", b"\x12\x01x"])
def test_what_protobuf_reads_is_read_alike(envelope, behind):
    size = len(envelope)
    raw = b"\x0a" + bytes([size & 127 | 128, size >> 7]) + envelope + behind
    expected = pb.Frame.FromString(raw)

    read, content = frames.read_frame(raw)

    if expected.WhichOneof("kind") == "chunk":
        assert (read, bytes(content)) == (None, expected.chunk)
    else:
        assert bytes(content) == expected.envelope.payload
        for one in (read, expected.envelope):
            one.ClearField("payload")
        assert read == expected.envelope


def test_damaged_frames_are_read_as_protobuf_reads_them():
    """Or refused as it refuses them, whichever bytes are hit."""
    chance = random.Random(0)
    whole = [by_protobuf(5000)[0], frames.chunk_frame([bytes(5000)])]
    for _ in range(3000):
        raw = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 3)):
            raw[chance.randrange(60)] = chance.randrange(256)
        raw = bytes(raw[: chance.choice([len(raw), len(raw), -1])])
        try:
            expected = pb.Frame.FromString(raw)
        except Exception:
            with pytest.raises(ProtocolError, match="none"):
                frames.read_frame(raw)
            continue
        read, content = frames.read_frame(raw)
        if read is None:
            assert bytes(content) == expected.chunk
            continue
        assert bytes(content) == expected.envelope.payload
        assert read.payload_bytes == expected.envelope.payload_bytes
        assert read.forward == expected.envelope.forward


@pytest.mark.parametrize("raw", [b"\xff" * 50, b"\x12" + b"\xff" * 5000])
def test_bytes_of_any_length_that_are_no_frame_are_refused(raw):
    with pytest.raises(ProtocolError, match="bytes that are none") as info:
        frames.read_frame(raw)

    assert info.value.reason == "unreadable"


def described(nbytes):
    """An envelope with about so many bytes before its payload."""
    envelope = pb.Envelope()
    envelope.hello.optimizer = "x" * nbytes
    envelope.payload_bytes = 3
    envelope.payload = b"abc"
    return envelope


@pytest.mark.parametrize("nbytes", [frames.DESCRIPTION_BYTES, 1 << 22])
def test_a_long_description_is_refused_before_it_is_read(nbytes, monkeypatch):
    envelope = described(nbytes)
    raw = envelope.SerializeToString()
    frame = pb.Frame(envelope=envelope).SerializeToString()
    monkeypatch.setattr(frames, "parse", None)

    for read, message in (
        (frames.read_envelope, raw),
        (frames.read_frame, frame),
    ):
        with pytest.raises(ProtocolError) as info:
            read(message)
        assert info.value.reason == "size"
        assert str(info.value).startswith(
            "Expected at most 65,536 bytes that describe a message"
        )


def test_a_payload_of_any_length_is_no_description():
    envelope = described(frames.DESCRIPTION_BYTES - 100)
    envelope.payload_bytes = 1 << 21
    envelope.payload = b"x" * (1 << 21)
    raw = envelope.SerializeToString()

    assert frames.read_envelope(raw) == envelope
    found, payload = frames.read_frame(
        pb.Frame(envelope=envelope).SerializeToString()
    )
    assert found.hello == envelope.hello
    assert len(payload) == 1 << 21
