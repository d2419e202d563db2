import numpy as np
import pytest

from keras_split.compression import codecs
from keras_split.compression.tensors import CutTensor
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.protocol.wire.size import nbytes


@pytest.mark.parametrize("codec", codecs.names())
def test_a_message_is_as_long_as_its_frames(codec):
    codes = np.arange(3000, dtype=np.uint8).reshape(2, 1500)
    scales = np.ones((2, 2), np.float32)
    message = Forward("s", 300, [CutTensor("a", (2, 1500), codes, scales)])

    counted = nbytes(message, codecs.get(codec))

    sent = frames.split(*convert.to_wire(message, codecs.get(codec)))
    assert counted == sum(map(len, sent))


def test_a_message_without_tensors_is_its_envelope():
    assert 0 < nbytes(Goodbye("session"), codecs.get("zstd")) < 20
