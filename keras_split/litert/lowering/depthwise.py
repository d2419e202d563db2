"""Depthwise convolutions: each channel has kernels of its own."""

import tensorflow as tf

from keras_split.litert.lowering import operation
from keras_split.litert.lowering import windows
from keras_split.litert.lowering.windows import Windows


def depthwise_conv2d(
    op: tf.Operation, y_grad: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradient of DepthwiseConv2dNative."""
    x, kernel = op.inputs
    shape = operation.image_shape(op, x)
    sliding = windows.kernel_windows(op, shape, kernel.shape)
    return (
        input_gradient(sliding, kernel, y_grad),
        kernel_gradient(sliding, x, y_grad),
    )


def input_gradient(
    sliding: Windows, kernel: tf.Tensor, y_grad: tf.Tensor
) -> tf.Tensor:
    """The gradient with respect to the images."""
    _, _, channels, multiplier = kernel.shape
    rows, columns = sliding.rows, sliding.columns
    kernel = tf.reshape(
        kernel, (rows.size, columns.size, channels * multiplier, 1)
    )
    if sliding.strides == (1, 1):
        # The taps of the transpose are the same, in reverse.
        y_grad = windows.place(
            y_grad,
            rows.reach - rows.before,
            columns.reach - columns.before,
            rows.length + rows.reach,
            columns.length + columns.reach,
        )
        x_grad = tf.nn.depthwise_conv2d(
            y_grad,
            tf.reverse(kernel, (0, 1)),
            (1, 1, 1, 1),
            "VALID",
            dilations=sliding.dilations,
        )
    else:
        x_grad = sliding.scatter(
            [y_grad * kernel[i, j, :, 0] for i, j in sliding.offsets]
        )
    if multiplier == 1:
        return x_grad
    x_grad = tf.reshape(x_grad, (-1, channels, multiplier))
    return tf.reshape(
        tf.reduce_sum(x_grad, 2),
        (y_grad.shape[0], rows.length, columns.length, channels),
    )


def kernel_gradient(
    sliding: Windows, x: tf.Tensor, y_grad: tf.Tensor
) -> tf.Tensor:
    """The gradient with respect to the kernel."""
    batch, _, _, channels = x.shape
    multiplier = y_grad.shape[3] // channels
    size = sliding.rows.size, sliding.columns.size
    if sliding.strides == sliding.dilations == (1, 1) and multiplier == 1:
        # Each tap is a sum over all windows, which is what a kernel as large
        # as `y_grad` makes of the image. Examples are so many more channels.
        sums = tf.nn.depthwise_conv2d(
            _join_batch(sliding.cover(x)),
            tf.reshape(_join_batch(y_grad), (*y_grad.shape[1:3], -1, 1)),
            (1, 1, 1, 1),
            "VALID",
        )
        if batch > 1:
            sums = tf.reduce_sum(tf.reshape(sums, (*size, batch, channels)), 2)
        return tf.reshape(sums, (*size, channels, 1))
    y_grad = tf.reshape(y_grad, (-1, channels, multiplier))
    sums = [
        tf.reduce_sum(tf.reshape(tap, (-1, channels, 1)) * y_grad, 0)
        for tap in sliding.taps(x)
    ]
    return tf.reshape(tf.stack(sums), (*size, channels, multiplier))


def _join_batch(x: tf.Tensor) -> tf.Tensor:
    """Images of a batch as channels of one: `(1, height, width, -1)`."""
    batch, height, width, channels = x.shape
    if batch == 1:
        return x
    return tf.reshape(
        tf.transpose(x, (1, 2, 0, 3)), (1, height, width, batch * channels)
    )
