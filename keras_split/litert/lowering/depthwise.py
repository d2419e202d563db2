"""Depthwise convolutions: each channel has kernels of its own."""

import tensorflow as tf

from keras_split.litert.lowering import operation
from keras_split.litert.lowering import windows
from keras_split.litert.lowering.windows import Windows

# A kernel that is a run-time tensor is LiteRT's own, which sums into a buffer
# of this many floats. A pixel of more channels never fits into it, and the
# call never returns (ai-edge-litert 2.1 to 2.3).
MOST_CHANNELS = 4832


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
        x_grad = _convolve(
            y_grad, tf.reverse(kernel, (0, 1)), sliding.dilations
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
        sums = _convolve(
            _join_batch(sliding.cover(x)),
            tf.reshape(_join_batch(y_grad), (*y_grad.shape[1:3], -1, 1)),
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


def _convolve(
    x: tf.Tensor, kernel: tf.Tensor, dilations: tuple[int, int] = (1, 1)
) -> tf.Tensor:
    """A depthwise convolution of `(rows, columns, channels, 1)`, unpadded.

    In as many parts as LiteRT needs; channels have nothing to do with each
    other.
    """
    channels = x.shape[3]
    parts = -(-channels // MOST_CHANNELS)
    most = -(-channels // parts)
    sizes = [most] * (channels // most)
    sizes += [channels % most] if channels % most else []
    images = tf.split(x, sizes, 3) if parts > 1 else [x]
    kernels = tf.split(kernel, sizes, 2) if parts > 1 else [kernel]
    made = [
        tf.nn.depthwise_conv2d(
            image, part, (1, 1, 1, 1), "VALID", dilations=dilations
        )
        for image, part in zip(images, kernels, strict=True)
    ]
    return tf.concat(made, 3) if parts > 1 else made[0]


def _join_batch(x: tf.Tensor) -> tf.Tensor:
    """Images of a batch as channels of one: `(1, height, width, -1)`."""
    batch, height, width, channels = x.shape
    if batch == 1:
        return x
    return tf.reshape(
        tf.transpose(x, (1, 2, 0, 3)), (1, height, width, batch * channels)
    )
