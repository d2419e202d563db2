import pytest

from keras_split.compression.codecs import Raw
from keras_split.errors import CodecError


def test_nothing_is_copied():
    data = memoryview(bytearray(b"codes"))

    assert Raw().encode(data) is data
    assert Raw().decode(data, 5) is data


def test_truncated_data_is_refused():
    with pytest.raises(CodecError, match="Received: 4 bytes"):
        Raw().decode(b"code", 5)
