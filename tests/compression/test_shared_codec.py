import numpy as np
import pytest
import tensorflow as tf

from keras_split.compression.shared import SharedSpec
from keras_split.compression.shared_codec import SharedCodec


def codec(dtype, packing, shape=(11,)):
    return SharedCodec([SharedSpec("x", shape, dtype, packing)])


@pytest.mark.parametrize(
    "dtype, packing, high",
    [
        ("int32", "bits", 2),
        ("bool", "bits", 2),
        ("int64", "bits", 2),
        ("int32", "uint8", 256),
        ("int32", "int32", 2**31 - 1),
        ("int64", "int64", 2**62),
        ("float32", "float32", 9),
        ("float16", "float16", 9),
    ],
)
@pytest.mark.parametrize("shape", [(11,), (2, 8), (1,)])
def test_what_comes_out_is_what_went_in(dtype, packing, high, shape):
    given = np.random.default_rng(0).integers(0, high, (5, *shape))
    crossing = codec(dtype, packing, shape)

    tensors = crossing.cast([given])
    parts = crossing.pack(tensors)
    (made,) = crossing.unpack(parts)

    assert all(fits for fits, _ in crossing.fit(tensors))
    assert made.dtype == dtype and made.shape == given.shape
    np.testing.assert_array_equal(made, given.astype(dtype))
    assert parts[0].dtype == crossing.part_dtypes[0]
    assert crossing.part_specs[0].shape.is_compatible_with(parts[0].shape)


def test_a_mask_takes_a_bit_an_element_and_rows_begin_with_a_byte():
    crossing = codec("int32", "bits")

    (part,) = crossing.pack([tf.constant([[1] * 9 + [0, 0], [0] * 11])])

    np.testing.assert_array_equal(part, [[255, 1], [0, 0]])


@pytest.mark.parametrize("value, packing", [(2, "bits"), (-1, "uint8")])
def test_numbers_that_do_not_fit_are_told(value, packing):
    crossing = codec("int32", packing)

    ((fits, found),) = crossing.fit(crossing.cast([np.full((2, 11), value)]))

    assert not fits
    assert found == value


def test_wrapped_it_is_a_tensor_without_scales():
    crossing = codec("int32", "bits")

    (tensor,) = crossing.wrap(iter([np.zeros((4, 2), "uint8")]))

    assert (tensor.name, tensor.shape, tensor.nbytes) == ("x", (4, 11), 8)
    assert tensor.scales is None
