import numpy as np
import pytest
import tensorflow as tf

from keras_split.compression.packing import pack
from keras_split.compression.packing import unpack


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("elements", [1, 8, 13])
def test_codes_survive_in_as_few_bytes_as_they_need(bits, elements):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**bits, (3, elements)).astype(np.float32)

    packed = pack(tf.constant(codes), bits)

    assert packed.dtype == tf.uint8
    assert packed.shape == (3, -(-elements * bits // 8))
    np.testing.assert_array_equal(unpack(packed, bits, elements), codes)


def test_the_first_code_is_in_the_lowest_bits():
    packed = pack(tf.constant([[1.0, 0, 0, 0, 0, 0, 0, 1.0, 1.0]]), 1)

    assert packed.numpy().tolist() == [[0b10000001, 1]]
