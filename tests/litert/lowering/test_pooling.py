import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume
from hypothesis import given
from hypothesis import strategies as st

from keras_split.errors import ExportError
from tests.litert.lowering.gradients import assert_runs_in_litert
from tests.litert.lowering.gradients import assert_same_gradients
from tests.litert.lowering.gradients import few
from tests.litert.lowering.test_conv import fits
from tests.litert.lowering.test_conv import paddings
from tests.litert.lowering.test_conv import pairs

ROWS = {
    "AvgPool": (lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"), (2, 7, 6, 3)),
    "MaxPool": (lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"), (2, 7, 6, 3)),
}


@few
@given(pairs, pairs, pairs, paddings, st.booleans())
def test_max_pool_gives_all_to_the_first_maximum(
    image, size, strides, padding, ties
):
    image = [2 + n for n in image]
    assume(fits(image, size, (1, 1)))
    x = np.random.default_rng(0).standard_normal((2, *image, 3))

    assert_same_gradients(
        lambda x: tf.nn.max_pool2d(x, size, strides, padding),
        np.sign(np.rint(x)) if ties else x,
    )


@few
@given(pairs, pairs, pairs, paddings)
def test_average_pool_has_its_stock_gradient(image, size, strides, padding):
    image = [2 + n for n in image]
    assume(fits(image, size, (1, 1)))

    assert_same_gradients(
        lambda x: tf.nn.avg_pool2d(x, size, strides, padding), (2, *image, 3)
    )


@pytest.mark.parametrize(
    "layer", [keras.layers.MaxPooling1D(3, 2), keras.layers.AveragePooling1D(2)]
)
def test_pools_over_one_axis_go_through_the_same_rows(layer):
    assert_same_gradients(
        lambda x: layer(x), (2, 8, 3), dtype=tf.float32, tolerance=1e-6
    )


@pytest.mark.parametrize("row", ROWS)
def test_rows_run_in_litert(row):
    assert_runs_in_litert(*ROWS[row])


def test_a_max_pool_with_ties_runs_in_litert():
    x = np.random.default_rng(0).integers(0, 2, (1, 6, 6, 2))

    assert_runs_in_litert(lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"), x)


def test_channels_first_says_what_to_do():
    with pytest.raises(ExportError, match=r"MaxPool.*channels_last"):
        assert_same_gradients(
            lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID", "NCHW"), (1, 3, 4, 4)
        )
