"""Every row at sizes past those of the zoo, in a process that may hang."""

import pytest
import tensorflow as tf

from keras_split.litert import lowering
from keras_split.litert.lowering.depthwise import MOST_CHANNELS
from tests.litert.lowering import test_activations
from tests.litert.lowering import test_normalization
from tests.litert.lowering import test_pooling
from tests.litert.lowering import test_shapes
from tests.litert.lowering.gradients import assert_runs_in_litert

SIZES = {
    "wide": (1, 7, 6, MOST_CHANNELS + 9),
    "tall": (1, 300, 301, 2),
    "many": (70, 7, 6, 70),
}


def conv(x, kernel):
    return tf.nn.conv2d(x, kernel, 2, "SAME")


def transposed(x, kernel):
    batch, height, width, _ = x.shape
    shape = (batch, 2 * height, 2 * width, kernel.shape[2])
    return tf.nn.conv2d_transpose(x, kernel, shape, 2, "SAME")


def depthwise(x, kernel, stride=1):
    return tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), "SAME")


def strided(x, kernel):
    return depthwise(x, kernel, 2)


ONE = (
    test_activations.ROWS | test_pooling.ROWS | test_shapes.ROWS
)  # functions of one image, whatever its size
TWO = {  # and of a kernel, whose shape follows from the channels
    "Conv2D": (conv, lambda n: (3, 3, n, 4)),
    "Conv2DBackpropInput": (transposed, lambda n: (3, 3, 5, n)),
    "DepthwiseConv2dNative": (depthwise, lambda n: (3, 3, n, 1)),
    "DepthwiseConv2dNative, strided": (strided, lambda n: (3, 3, n, 1)),
    "Mul": (lambda x, y: x * y, lambda n: (1, n)),
}


def case(row, size):
    image = SIZES[size]
    if row == "FusedBatchNormV3":
        normalize = test_normalization.batch_norm(True)
        return normalize, image, image[3:], image[3:]
    if row in TWO:
        function, kernel = TWO[row]
        return function, image, kernel(image[3])
    return ONE[row][0], image


@pytest.mark.parametrize(
    "batch, channels",
    [(1, MOST_CHANNELS), (1, MOST_CHANNELS + 1), (9, MOST_CHANNELS // 8)],
)
def test_depthwise_comes_back_however_many_channels(batch, channels):
    assert_runs_in_litert(
        depthwise,
        (batch, 4, 3, channels),
        (2, 2, channels, 1),
        limit_s=60,
    )


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "row", [*lowering.TABLE, "DepthwiseConv2dNative, strided"]
)
def test_rows_come_back_with_their_numbers(row, size):
    assert_runs_in_litert(*case(row, size), tolerance=1e-3, limit_s=60)
