"""Convolutions, in both directions, with a kernel that is a run-time tensor.

LiteRT's CONV_2D is fast only while its kernel is a constant, and the kernel
of a half in training is not. Its fast product of two run-time tensors is
BATCH_MATMUL, so a convolution becomes one product for each tap. Over few
channels, such as an image's three, those would be too thin: there all taps
stand side by side in one product.
"""

from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from keras_split.litert.lowering import operation
from keras_split.litert.lowering import windows
from keras_split.litert.lowering.windows import Axis
from keras_split.litert.lowering.windows import Windows

# At 224x224, 3x3, from 3 channels to 64: CONV_2D 7.4 ms, one product 1.7 ms,
# one for each row of taps 6.0 ms. From 64 channels one product is no faster
# than nine, and its gradient takes 151 ms instead of 64 ms.
_FEW_CHANNELS = 16
# One product needs every pixel once for each tap; beyond this it costs more
# memory than it saves time.
_MOST_PATCH_BYTES = 2**28
# What one tap of a batch may take before it is convolved image by image: taps
# are added up, and a sum that leaves the cache costs more than the product.
_MOST_TAP_BYTES = 2**23


def convolve(
    x: tf.Tensor,
    kernel: tf.Tensor,
    strides: int | Sequence[int] = 1,
    padding: str = "VALID",
    dilations: int | Sequence[int] = 1,
) -> tf.Tensor:
    """`tf.nn.conv2d` for a kernel that LiteRT meets at run time.

    Groups and unknown shapes go to `tf.nn.conv2d` itself, whose gradient is
    a row of the table. Everything else is products of matrices that bring
    their own gradient.

    Args:
        x: Images, shape `(batch, height, width, channels)`.
        kernel: Shape `(rows, columns, channels / groups, filters)`.
        strides: For rows and columns, or for both.
        padding: `"SAME"` or `"VALID"`, in any case.
        dilations: For rows and columns, or for both.

    Returns:
        Shape `(batch, rows, columns, filters)`.
    """
    x, kernel = tf.convert_to_tensor(x), tf.convert_to_tensor(kernel)
    strides, dilations = _pair(strides), _pair(dilations)
    if not x.shape.is_fully_defined() or x.shape[3] != kernel.shape[2]:
        return tf.nn.conv2d(
            x, kernel, strides, padding.upper(), dilations=dilations
        )
    sliding = windows.windows_of(
        x.shape,
        kernel.shape[:2],
        strides=strides,
        padding=padding.upper(),
        dilations=dilations,
    )
    if x.shape[0] > 1 and _overflows_cache(sliding, x, kernel):
        images = tf.split(x, x.shape[0])
        return tf.concat(
            [convolve(i, kernel, strides, padding, dilations) for i in images],
            0,
        )

    @tf.custom_gradient
    def product(
        x: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        def gradient(y_grad: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return (
                input_gradient(sliding, kernel, y_grad),
                kernel_gradient(sliding, x, y_grad),
            )

        return _convolve(sliding, x, kernel), gradient

    return product(x, kernel)


def _overflows_cache(sliding: Windows, x: tf.Tensor, kernel: tf.Tensor) -> bool:
    """Whether a batch is better convolved image by image."""
    positions = x.shape[0] * sliding.rows.count * sliding.columns.count
    channels, filters = kernel.shape[2:]
    nbytes: int = 4 * positions * max(channels, filters)
    return nbytes > _MOST_TAP_BYTES and bool(channels >= _FEW_CHANNELS)


def conv2d(op: tf.Operation, y_grad: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The gradient of Conv2D."""
    x, kernel = op.inputs
    shape = operation.image_shape(op, x)
    sliding = windows.kernel_windows(op, shape, kernel.shape)
    groups = shape[3] // kernel.shape[2]
    return (
        _by_group(
            groups,
            lambda kernel, y_grad: input_gradient(sliding, kernel, y_grad),
            kernel,
            y_grad,
        ),
        _by_group(
            groups,
            lambda x, y_grad: kernel_gradient(sliding, x, y_grad),
            x,
            y_grad,
        ),
    )


def conv2d_backprop_input(
    op: tf.Operation, x_grad: tf.Tensor
) -> tuple[tf.Tensor | None, ...]:
    """The gradient of Conv2DBackpropInput, which Conv2DTranspose runs.

    That operation is linear, and its transpose is the convolution.
    """
    _, kernel, y = op.inputs
    shape = operation.image_shape(op, op.outputs[0])
    sliding = windows.kernel_windows(op, shape, kernel.shape)
    return (
        None,
        kernel_gradient(sliding, x_grad, y),
        _convolve(sliding, x_grad, kernel),
    )


def input_gradient(
    sliding: Windows, kernel: tf.Tensor, y_grad: tf.Tensor
) -> tf.Tensor:
    """The gradient with respect to the images, for one group."""
    rows, columns = sliding.rows, sliding.columns
    if sliding.strides == (1, 1):
        # The taps of the transpose are the same, in reverse.
        y_grad = windows.place(
            y_grad,
            rows.reach - rows.before,
            columns.reach - columns.before,
            rows.length + rows.reach,
            columns.length + columns.reach,
        )
        back = windows.windows_of(
            y_grad.shape,
            kernel.shape[:2],
            strides=(1, 1),
            padding="VALID",
            dilations=sliding.dilations,
        )
        if len(sliding.offsets) > 1:
            kernel = tf.reverse(kernel, (0, 1))
        return _convolve(back, y_grad, tf.transpose(kernel, (0, 1, 3, 2)))
    batch = y_grad.shape[0]
    channels, filters = kernel.shape[2:]
    pixels = tf.reshape(y_grad, (1, -1, filters))
    kernels = _by_tap(tf.transpose(kernel, (0, 1, 3, 2)))
    taps = [
        tf.reshape(
            tf.matmul(pixels, weights),
            (batch, rows.count, columns.count, channels),
        )
        for weights in kernels
    ]
    return sliding.scatter(taps)


def kernel_gradient(
    sliding: Windows, x: tf.Tensor, y_grad: tf.Tensor
) -> tf.Tensor:
    """The gradient with respect to the kernel, for one group."""
    channels, filters = x.shape[3], y_grad.shape[3]
    size = sliding.rows.size, sliding.columns.size
    y_grad = tf.reshape(y_grad, (-1, filters))
    if _is_thin(sliding, x):
        gradient = tf.matmul(
            _transpose(_patches(sliding, x)), tf.expand_dims(y_grad, 0)
        )
        return tf.reshape(gradient, (*size, channels, filters))
    y_grad = _transpose(y_grad)
    products = [
        tf.matmul(y_grad, tf.reshape(tap, (1, -1, channels)))
        for tap in sliding.taps(x)
    ]
    gradient = tf.transpose(tf.concat(products, 0), (0, 2, 1))
    return tf.reshape(gradient, (*size, channels, filters))


def _convolve(sliding: Windows, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The convolution, for one group."""
    channels, filters = kernel.shape[2:]
    shape = (x.shape[0], sliding.rows.count, sliding.columns.count, filters)
    if _is_thin(sliding, x):
        patches = tf.expand_dims(_patches(sliding, x), 0)
        return tf.reshape(
            tf.matmul(patches, tf.reshape(kernel, (1, -1, filters))), shape
        )
    total = None
    for tap, weights in zip(sliding.taps(x), _by_tap(kernel), strict=True):
        product = tf.matmul(tf.reshape(tap, (1, -1, channels)), weights)
        total = product if total is None else total + product
    return tf.reshape(total, shape)


def _is_thin(sliding: Windows, x: tf.Tensor) -> bool:
    """Whether all taps should go into one product."""
    windows_in_all = x.shape[0] * sliding.rows.count * sliding.columns.count
    taps, channels = len(sliding.offsets), x.shape[3]
    patch_bytes = windows_in_all * taps * channels * 4
    return (
        taps > 1
        and channels < _FEW_CHANNELS
        and patch_bytes <= _MOST_PATCH_BYTES
    )


def _patches(sliding: Windows, x: tf.Tensor) -> tf.Tensor:
    """What each window sees: `(windows, taps * channels)`.

    Along the columns a convolution lines the taps up, with an identity for
    its kernel: that one is a constant, so CONV_2D is fast, and copying a few
    channels at a time is not.
    """
    rows, columns = sliding.rows, sliding.columns
    entries = columns.size * x.shape[3]
    x = sliding.cover(x)
    if columns.size > 1 or columns.stride > 1:
        identity = tf.reshape(
            tf.eye(entries, dtype=x.dtype), (1, columns.size, -1, entries)
        )
        x = tf.nn.conv2d(
            x,
            identity,
            (1, columns.stride),
            "VALID",
            dilations=(1, columns.dilation),
        )
    by_row = Windows(
        Axis(x.shape[1], rows.size, rows.stride, rows.dilation),
        Axis(columns.count, 1),
    )
    patches = tf.concat(by_row.taps(x), 3)
    return tf.reshape(patches, (-1, rows.size * entries))


def _by_tap(kernel: tf.Tensor) -> list[tf.Tensor]:
    """The matrix of each tap, with one axis in front."""
    taps = kernel.shape[0] * kernel.shape[1]
    matrices = tf.reshape(kernel, (taps, *kernel.shape[2:]))
    return [matrices] if taps == 1 else tf.split(matrices, taps)


def _transpose(matrix: tf.Tensor) -> tf.Tensor:
    """Swaps the two axes and puts one in front.

    In this order: the converter would fold a transpose of three axes into
    the product that reads it, which then takes about twice as long.
    """
    return tf.expand_dims(tf.transpose(matrix), 0)


def _by_group(
    groups: int,
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    *tensors: tf.Tensor,
) -> tf.Tensor:
    """Applies `function` to each group of last axes, and joins the results."""
    if groups == 1:
        return function(*tensors)
    parts = zip(*(tf.split(t, groups, -1) for t in tensors), strict=True)
    return tf.concat([function(*part) for part in parts], -1)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    rows, columns = (value, value) if isinstance(value, int) else value
    return rows, columns
