import pytest

from keras_split.compression import codecs
from keras_split.errors import ProtocolError
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import unary
from tests.golden import messages

RAW = codecs.get("raw")


@pytest.mark.parametrize("name", messages.SAMPLES)
def test_a_message_is_what_a_stream_carries_in_one_frame(name):
    message = messages.SAMPLES[name]

    raw = unary.encode(message, RAW)
    again = unary.decode(raw, RAW)

    [frame] = messages.encode(message)
    assert bytes.fromhex(frame).endswith(raw)
    assert type(again) is type(message)
    assert messages.encode(again) == [frame]


@pytest.mark.parametrize("raw", [b"\xff" * 50, b"GET / HTTP/1.1"])
def test_other_bytes_are_refused(raw):
    with pytest.raises(ProtocolError) as info:
        unary.decode(raw, RAW)

    assert info.value.reason == "unreadable"


def test_tensors_over_the_limit_are_refused():
    raw = unary.encode(messages.SAMPLES["Infer"], RAW)

    with pytest.raises(ProtocolError) as info:
        unary.decode(raw, RAW, limit=5)

    assert info.value.reason == "size"
    assert len(raw) < frames.CHUNK_BYTES
