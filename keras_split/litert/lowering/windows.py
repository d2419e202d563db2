"""The windows that a kernel or a pool slides over an image.

Convolutions and pools are sums over *taps*: tap `(i, j)` is the image of
what every window sees at its own pixel `(i, j)`. Taking the taps of an image
and putting them back is all a gradient needs besides arithmetic, and both
are slices, pads and reshapes here. Strides never reach LiteRT: its
STRIDED_SLICE is slow at steps other than 1, so the image is first cut into
blocks of one stride, which is a reshape, and the slice picks from each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from keras_split.litert.lowering import operation


@dataclass(frozen=True)
class Axis:
    """Windows along one axis: window `w` starts at `w * stride - before`.

    Attributes:
        length: Pixels of the image.
        size: Taps of one window.
        stride: Pixels from one window to the next.
        dilation: Pixels from one tap to the next.
        before: Padding in front.
        after: Padding behind.
    """

    length: int
    size: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def reach(self) -> int:
        """Pixels from a window's first tap to its last."""
        return (self.size - 1) * self.dilation

    @property
    def count(self) -> int:
        """How many windows there are."""
        padded = self.before + self.length + self.after
        return (padded - self.reach - 1) // self.stride + 1

    @property
    def blocks(self) -> int:
        """How many blocks of one stride the windows touch."""
        return self.count + self.reach // self.stride

    def tap(self, i: int) -> tuple[int, int]:
        """The block, and the pixel in it, where window 0 has its tap `i`."""
        return divmod(i * self.dilation, self.stride)


@dataclass(frozen=True)
class Windows:
    """Windows over the rows and columns of an image, channels last."""

    rows: Axis
    columns: Axis

    @property
    def strides(self) -> tuple[int, int]:
        """Pixels from one window to the next."""
        return self.rows.stride, self.columns.stride

    @property
    def dilations(self) -> tuple[int, int]:
        """Pixels from one tap to the next."""
        return self.rows.dilation, self.columns.dilation

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """The taps `(i, j)`, row by row."""
        return [
            (i, j)
            for i in range(self.rows.size)
            for j in range(self.columns.size)
        ]

    @property
    def pointwise(self) -> bool:
        """Whether each window is one pixel, and each pixel a window."""
        return all(
            (axis.size, axis.stride, axis.before, axis.after) == (1, 1, 0, 0)
            for axis in (self.rows, self.columns)
        )

    def cover(self, x: tf.Tensor, value: float = 0.0) -> tf.Tensor:
        """The part of `x` that windows see, padded with `value`.

        Returns:
            Shape `(batch, rows.blocks * rows.stride, columns.blocks *
            columns.stride, channels)`; its first pixel is the first tap of
            the first window.
        """
        return place(
            x,
            self.rows.before,
            self.columns.before,
            self.rows.blocks * self.rows.stride,
            self.columns.blocks * self.columns.stride,
            value,
        )

    def taps(self, x: tf.Tensor, value: float = 0.0) -> list[tf.Tensor]:
        """What the windows of image `x` see, one tensor for each tap.

        Returns:
            As many as `offsets`, in that order, each of shape `(batch,
            rows.count, columns.count, channels)`.
        """
        if self.pointwise:
            return [x]
        batch, _, _, channels = x.shape
        rows, columns = self.rows, self.columns
        # Of a block, rows stand side by side and columns among the channels.
        blocks = tf.reshape(
            self.cover(x, value),
            (
                batch,
                rows.blocks,
                rows.stride * columns.blocks,
                columns.stride * channels,
            ),
        )
        taps = []
        for i, j in self.offsets:
            top, row = rows.tap(i)
            left, column = columns.tap(j)
            taps.append(
                tf.slice(
                    blocks,
                    (0, top, row * columns.blocks + left, column * channels),
                    (batch, rows.count, columns.count, channels),
                )
            )
        return taps

    def scatter(self, taps: Sequence[tf.Tensor]) -> tf.Tensor:
        """Adds taps back where `taps` took them: its transpose.

        Returns:
            Shape `(batch, rows.length, columns.length, channels)`.
        """
        if self.pointwise:
            return taps[0]
        rows, columns = self.rows, self.columns
        sums: dict[tuple[int, int], tf.Tensor] = {}
        for (i, j), tap in zip(self.offsets, taps, strict=True):
            top, row = rows.tap(i)
            left, column = columns.tap(j)
            tap = place(tap, top, left, rows.blocks, columns.blocks)
            if (row, column) in sums:
                tap = sums[row, column] + tap
            sums[row, column] = tap
        image = self._interleave(sums)
        return place(
            image, -rows.before, -columns.before, rows.length, columns.length
        )

    def _interleave(self, sums: dict[tuple[int, int], tf.Tensor]) -> tf.Tensor:
        """Puts pixel `(row, column)` of all blocks side by side."""
        some = next(iter(sums.values()))
        if self.strides == (1, 1):
            return some
        zeros = tf.zeros(some.shape, some.dtype)
        batch, height, width, channels = some.shape
        rows, columns = self.strides
        if rows == columns:
            pixels = [
                sums.get((row, column), zeros)
                for row in range(rows)
                for column in range(columns)
            ]
            # A builtin of its own, and twice as fast as two concatenations.
            return tf.nn.depth_to_space(tf.concat(pixels, 3), rows)
        lines = []
        for row in range(rows):
            line = [sums.get((row, column), zeros) for column in range(columns)]
            joined = line[0] if columns == 1 else tf.concat(line, 3)
            lines.append(
                tf.reshape(
                    joined, (batch, height, 1, width * columns * channels)
                )
            )
        image = lines[0] if rows == 1 else tf.concat(lines, 2)
        return tf.reshape(
            image, (batch, height * rows, width * columns, channels)
        )


def windows_of(
    shape: Sequence[int],
    size: Sequence[int],
    *,
    strides: Sequence[int],
    padding: str,
    dilations: Sequence[int] = (1, 1),
    explicit: Sequence[int] = (),
) -> Windows:
    """The windows over an image of `shape`, padded as TensorFlow does.

    Args:
        shape: `(batch, height, width, channels)`.
        size: Rows and columns of one window.
        strides: Rows and columns from one window to the next.
        padding: `"SAME"`, `"VALID"` or `"EXPLICIT"`.
        dilations: Rows and columns from one tap to the next.
        explicit: With `"EXPLICIT"`, the padding before and after each of the
            four axes.
    """
    axes = []
    for k in range(2):
        length, stride = shape[1 + k], strides[k]
        before = after = 0
        if padding == "SAME":
            reach = (size[k] - 1) * dilations[k]
            last = (-(-length // stride) - 1) * stride
            total = max(last + reach + 1 - length, 0)
            before, after = total // 2, total - total // 2
        elif padding == "EXPLICIT":
            before, after = explicit[2 + 2 * k : 4 + 2 * k]
        axes.append(Axis(length, size[k], stride, dilations[k], before, after))
    return Windows(*axes)


def kernel_windows(
    op: tf.Operation, image: Sequence[int], kernel: Sequence[int]
) -> Windows:
    """The windows of a convolution `op` over an image of shape `image`."""
    return windows_of(
        image,
        kernel[:2],
        strides=operation.rows_and_columns(op, "strides"),
        padding=operation.attribute(op, "padding"),
        dilations=operation.rows_and_columns(op, "dilations"),
        explicit=operation.attribute(op, "explicit_paddings"),
    )


def pool_windows(op: tf.Operation, image: Sequence[int]) -> Windows:
    """The windows of a pool `op` over an image of shape `image`."""
    return windows_of(
        image,
        operation.rows_and_columns(op, "ksize"),
        strides=operation.rows_and_columns(op, "strides"),
        padding=operation.attribute(op, "padding"),
    )


def place(
    x: tf.Tensor,
    top: int,
    left: int,
    height: int,
    width: int,
    value: float = 0.0,
) -> tf.Tensor:
    """An image of `height` times `width` with `x` at `(top, left)`.

    What sticks out is cut off, the rest filled with `value`; where nothing
    changes, nothing is computed.
    """
    _, rows, columns, _ = x.shape
    bottom, right = height - top - rows, width - left - columns
    if min(top, left, bottom, right) < 0:
        x = x[
            :,
            max(-top, 0) : rows + min(bottom, 0),
            max(-left, 0) : columns + min(right, 0),
        ]
    if max(top, left, bottom, right) > 0:
        margins = ((max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)))
        x = tf.pad(x, ((0, 0), *margins, (0, 0)), constant_values=value)
    return x
