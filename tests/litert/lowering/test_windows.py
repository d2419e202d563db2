import numpy as np
import tensorflow as tf
from hypothesis import assume
from hypothesis import given

from keras_split.litert.lowering import windows
from tests.litert.lowering.gradients import few
from tests.litert.lowering.test_conv import fits
from tests.litert.lowering.test_conv import paddings
from tests.litert.lowering.test_conv import pairs


@few
@given(pairs, pairs, pairs, paddings, pairs)
def test_scatter_is_the_transpose_of_taps(
    image, size, strides, padding, dilations
):
    image = [4 + n for n in image]
    assume(fits(image, size, dilations))
    sliding = windows.windows_of(
        (2, *image, 3),
        size,
        strides=strides,
        padding=padding,
        dilations=dilations,
    )
    x = tf.random.normal((2, *image, 3), dtype=tf.float64)

    taps = sliding.taps(x)
    ys = [tf.random.normal(tap.shape, dtype=tf.float64) for tap in taps]
    back = sliding.scatter(ys)

    forth = sum(tf.reduce_sum(tap * y) for tap, y in zip(taps, ys, strict=True))
    np.testing.assert_allclose(forth, tf.reduce_sum(x * back), 1e-10, 1e-10)


def test_taps_of_a_line():
    sliding = windows.windows_of(
        (1, 1, 5, 1), (1, 3), strides=(1, 2), padding="SAME"
    )
    x = tf.reshape(tf.range(1.0, 6.0), (1, 1, 5, 1))

    taps = [tap.numpy().ravel().tolist() for tap in sliding.taps(x, -1.0)]

    assert taps == [[-1, 2, 4], [1, 3, 5], [2, 4, -1]]


def test_placing_an_image_where_it_is_does_nothing():
    x = tf.ones((1, 2, 3, 1))

    assert windows.place(x, 0, 0, 2, 3) is x


def test_placing_cuts_off_what_sticks_out():
    x = tf.reshape(tf.range(6.0), (1, 2, 3, 1))

    placed = windows.place(x, -1, 1, 2, 3, value=9.0)

    assert placed.numpy().reshape(2, 3).tolist() == [[9, 3, 4], [9, 9, 9]]
