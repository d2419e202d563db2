import random

import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol.wire import frame
from keras_split.protocol.wire import split_pb2 as pb

SIZES = [0, 1, 127, 128, 5000, 1 << 14, 1 << 20]


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

    assert frame.envelope(head(size), pieces) == expected


@pytest.mark.parametrize("size", [*SIZES[1:], (1 << 21) + 1])
def test_a_chunk_has_the_bytes_that_protobuf_gives_it(size):
    payload = random.Random(size).randbytes(size)

    raw = frame.chunk([payload[:1], payload[1:]])

    assert raw == pb.Frame(chunk=payload).SerializeToString()
    assert frame.read(raw) == (None, payload)


def test_an_empty_envelope_has_the_bytes_that_protobuf_gives_it():
    expected = pb.Frame(envelope=pb.Envelope()).SerializeToString()

    assert frame.envelope(pb.Envelope(), []) == expected


@pytest.mark.parametrize("size", SIZES)
def test_an_envelope_is_read_as_protobuf_reads_it(size):
    raw, payload = by_protobuf(size)

    envelope, content = frame.read(raw)

    envelope.ClearField("payload")
    assert (envelope, bytes(content)) == (head(size), payload)


def test_long_payloads_are_views_of_their_frame():
    raw, _ = by_protobuf(1 << 20)

    for one in (raw, frame.chunk([bytes(1 << 20)])):
        _, content = frame.read(one)
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

    read, content = frame.read(raw)

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
    whole = [by_protobuf(5000)[0], frame.chunk([bytes(5000)])]
    for _ in range(3000):
        raw = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 3)):
            raw[chance.randrange(60)] = chance.randrange(256)
        raw = bytes(raw[: chance.choice([len(raw), len(raw), -1])])
        try:
            expected = pb.Frame.FromString(raw)
        except Exception:
            with pytest.raises(ProtocolError, match="none"):
                frame.read(raw)
            continue
        read, content = frame.read(raw)
        if read is None:
            assert bytes(content) == expected.chunk
            continue
        assert bytes(content) == expected.envelope.payload
        assert read.payload_bytes == expected.envelope.payload_bytes
        assert read.forward == expected.envelope.forward


@pytest.mark.parametrize("raw", [b"\xff" * 50, b"\x12" + b"\xff" * 5000])
def test_what_is_no_frame_is_refused(raw):
    with pytest.raises(ProtocolError, match="bytes that are none") as info:
        frame.read(raw)

    assert info.value.reason == "unreadable"
