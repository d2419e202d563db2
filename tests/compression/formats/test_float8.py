import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_split.compression.formats import float8
from keras_split.compression.quantize import quantize
from keras_split.compression.quantize import simulate
from keras_split.compression.rules import GRANULARITIES
from keras_split.compression.rules import Rule
from keras_split.compression.tensors import CutTensor
from keras_split.protocol import validation

RULE = Rule("float8_e4m3")
ALL = np.arange(256, dtype=np.uint8)
NUMBERS = ALL.view(ml_dtypes.float8_e4m3fn).astype(np.float32)


def reference(x):
    return x.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)


def test_every_code_stands_for_what_the_standard_says():
    scales = np.ones((1, 2), "float32")

    in_numpy = RULE.format.values(ALL[np.newaxis], scales, RULE, (256,))
    in_tensorflow = float8._decode(tf.constant(ALL)).numpy()

    np.testing.assert_array_equal(in_numpy[0], NUMBERS)
    np.testing.assert_array_equal(in_tensorflow, NUMBERS)
    assert np.signbit(in_tensorflow[0x80])
    assert np.nanmax(NUMBERS) == float8.MAX


def test_numbers_round_to_the_codes_that_the_standard_says():
    known = np.sort(NUMBERS[np.isfinite(NUMBERS)])
    ties = (known[1:] + known[:-1]) / 2
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            *(known, ties, np.nextafter(ties, 1e9), np.nextafter(ties, -1e9)),
            *([0.0, -0.0, 1e-30, -1e-30, 2**-10, -(2**-10)],),
            *(rng.normal(size=20_000) * s for s in (1e-3, 1e-2, 1, 99)),
        ]
    ).astype("float32")
    x = x[np.abs(x) <= 448]

    codes = float8._encode(tf.constant(x)).numpy()

    np.testing.assert_array_equal(codes, reference(x))


@pytest.mark.parametrize("granularity", GRANULARITIES)
@given(
    x=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
        elements=st.floats(-(2.0**60), 2.0**60, width=32)
        | st.floats(-1, 1, width=32),
    )
)
@settings(max_examples=60, deadline=None)
def test_the_error_stays_below_the_promised_bound(granularity, x):
    rule = Rule("float8_e4m3", granularity)

    error = np.abs(simulate(tf.constant(x), rule).numpy() - x)

    axes = {"tensor": None, "example": tuple(range(1, x.ndim))}
    axis = axes.get(granularity, tuple(range(x.ndim - 1)))
    largest = np.abs(x).max(axis=axis, keepdims=True)
    bound = np.maximum(np.abs(x) / 16, largest / 229376)
    assert (error <= np.maximum(bound, 448 * 2.0**-100)).all()


@pytest.mark.parametrize("largest", [448, 449, 447, 1, 3e38, 1e-20, 3.5, 3.51])
def test_the_scale_is_the_power_of_two_that_nothing_saturates_beside(largest):
    x = tf.constant([[largest, -largest / 3, 0.0]])

    codes, scales = quantize(x, RULE)

    scale, zero_point = scales.numpy()[0]
    assert np.frexp(scale)[0] == 0.5 and zero_point == 0
    assert 224 < np.float32(largest) / scale <= 448
    expected = reference((x.numpy() / scale).astype("float32"))
    np.testing.assert_array_equal(codes.numpy(), expected)


def test_an_all_zero_example_stays_zero():
    codes, scales = quantize(tf.zeros((2, 3)), RULE)

    assert not codes.numpy().any()
    assert np.isfinite(scales.numpy()).all()


@pytest.mark.parametrize("code", [0x7F, 0xFF])
def test_the_code_that_is_not_a_number_is_refused(code):
    codes = np.zeros((2, 3), np.uint8)
    codes[1, 2] = code
    tensor = CutTensor("a", (2, 3), codes, np.ones((2, 2), "float32"))

    assert not validation.is_finite(tensor, RULE)
    codes[1, 2] = code - 1
    assert validation.is_finite(tensor, RULE)


@pytest.mark.parametrize(
    "row", [(np.nan, 0), (np.inf, 0), (1, np.nan), (1, np.inf), (1e36, 0)]
)
def test_scales_that_are_not_finite_or_too_large_are_refused(row):
    scales = np.ones((2, 2), "float32")
    scales[1] = row
    tensor = CutTensor("a", (2, 3), np.zeros((2, 3), np.uint8), scales)

    assert not validation.is_finite(tensor, RULE)


def test_positions_of_blocks_are_no_codes():
    rule = Rule("float8_e4m3", block=256)
    codes = np.array([[0xFF, 0x12], [0x7F, 0x7E]], np.uint8)
    tensor = CutTensor("a", (2, 256), codes, np.ones((2, 2), "float32"))

    assert validation.is_finite(tensor, rule)
    codes[0, 1] = 0xFF
    assert not validation.is_finite(tensor, rule)
