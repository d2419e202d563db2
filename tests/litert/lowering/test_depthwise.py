import pytest
import tensorflow as tf
from hypothesis import assume
from hypothesis import given
from hypothesis import strategies as st

from tests.litert.lowering.gradients import assert_runs_in_litert
from tests.litert.lowering.gradients import assert_same_gradients
from tests.litert.lowering.gradients import few
from tests.litert.lowering.gradients import small
from tests.litert.lowering.test_conv import fits
from tests.litert.lowering.test_conv import paddings
from tests.litert.lowering.test_conv import pairs
from tests.litert.lowering.test_conv import reference_conv2d

ROWS = {
    "DepthwiseConv2dNative": (
        lambda x, k: tf.nn.depthwise_conv2d(x, k, (1, 1, 1, 1), "SAME"),
        (2, 6, 7, 3),
        (3, 3, 3, 1),
    ),
}


def reference_depthwise(x, kernel, strides, padding, dilations):
    """A convolution with as many groups as channels."""
    rows, columns, channels, multiplier = kernel.shape
    kernel = tf.reshape(kernel, (rows, columns, 1, channels * multiplier))
    return reference_conv2d(x, kernel, strides, padding, dilations)


@few
@given(small, pairs, pairs, small, paddings, small, small)
def test_depthwise_has_its_stock_gradients(
    batch, image, kernel, stride, padding, channels, multiplier
):
    image = [3 + n for n in image]
    assume(fits(image, kernel, (1, 1)))

    assert_same_gradients(
        lambda x, k: tf.nn.depthwise_conv2d(
            x, k, (1, stride, stride, 1), padding
        ),
        (batch, *image, channels),
        (*kernel, channels, multiplier),
    )


@few
@given(pairs, pairs, st.sampled_from([1, 2]), paddings, pairs, small)
def test_depthwise_with_dilation(
    image, kernel, stride, padding, dilations, multiplier
):
    image = [6 + n for n in image]
    assume(fits(image, kernel, dilations))

    assert_same_gradients(
        lambda x, k: tf.raw_ops.DepthwiseConv2dNative(
            input=x,
            filter=k,
            strides=(1, stride, stride, 1),
            padding=padding,
            dilations=(1, *dilations, 1),
        ),
        (2, *image, 3),
        (*kernel, 3, multiplier),
        reference=lambda x, k: reference_depthwise(
            x, k, (stride, stride), padding, dilations
        ),
    )


def test_depthwise_with_explicit_padding():
    padding = [(0, 0), (2, 1), (0, 3), (0, 0)]

    assert_same_gradients(
        lambda x, k: tf.raw_ops.DepthwiseConv2dNative(
            input=x,
            filter=k,
            strides=(1, 2, 2, 1),
            padding="EXPLICIT",
            explicit_paddings=[n for pair in padding for n in pair],
        ),
        (2, 6, 7, 3),
        (3, 2, 3, 2),
        reference=lambda x, k: reference_depthwise(
            x, k, (2, 2), padding, (1, 1)
        ),
    )


@pytest.mark.parametrize("row", ROWS)
def test_rows_run_in_litert(row):
    assert_runs_in_litert(*ROWS[row])


@pytest.mark.parametrize(
    ("stride", "dilation", "multiplier"), [(2, 1, 1), (1, 2, 1), (1, 1, 2)]
)
def test_attributes_run_in_litert(stride, dilation, multiplier):
    assert_runs_in_litert(
        lambda x, k: tf.nn.depthwise_conv2d(
            x,
            k,
            (1, stride, stride, 1),
            "SAME",
            dilations=(dilation, dilation),
        ),
        (1, 6, 6, 4),
        (3, 3, 4, multiplier),
        reference=lambda x, k: reference_depthwise(
            x, k, (stride,) * 2, "SAME", (dilation,) * 2
        ),
    )
