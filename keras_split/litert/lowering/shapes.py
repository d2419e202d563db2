"""Operations that select, stack, repeat or blend pixels.

Pad, ConcatV2, Transpose and Gather along an axis need no row.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_split.litert.lowering import operation


class _Slice(NamedTuple):
    """`start`, `start + step`, ... : `taken` pixels of an axis of `length`."""

    start: int
    step: int
    taken: int
    length: int


def strided_slice(
    op: tf.Operation, y_grad: tf.Tensor
) -> tuple[tf.Tensor | None, ...]:
    """The gradient of StridedSlice: its own values, zeros between them."""
    slices = _slices(op)
    grad = tf.reshape(y_grad, [s.taken for s in slices])
    if backward := [k for k, s in enumerate(slices) if s.step < 0]:
        grad = tf.reverse(grad, backward)
        for k in backward:
            start, step, taken, length = slices[k]
            slices[k] = _Slice(start + (taken - 1) * step, -step, taken, length)
    for k, s in enumerate(slices):
        if s.step > 1 and s.taken > 1:
            grad = _spread(grad, k, s.step)
    ends = [
        (s.length, s.start, n) for s, n in zip(slices, grad.shape, strict=True)
    ]
    # Only zeros of a last step stick out.
    grad = tf.slice(
        grad,
        [0] * len(ends),
        [min(n, length - start) for length, start, n in ends],
    )
    margins = [(start, max(length - start - n, 0)) for length, start, n in ends]
    return tf.pad(grad, margins), None, None, None


def pack(op: tf.Operation, y_grad: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The gradient of Pack: its slices.

    TensorFlow's own unpacks. The converter of TensorFlow 2.21 makes a reshape
    of what is unpacked and then concatenated, along whichever axes, as the
    gradient of halves is that are stacked: rotary positions of Gemma have it.
    """
    shape = operation.shape_of(op, op.inputs[0])
    axis = operation.attribute(op, "axis")
    parts = tf.split(y_grad, len(op.inputs), axis)
    return tuple(tf.reshape(part, shape) for part in parts)


def tile(op: tf.Operation, y_grad: tf.Tensor) -> tuple[tf.Tensor, None]:
    """The gradient of Tile: the sum over copies, axis by axis.

    TensorFlow's own sums all axes at once, over twice as many. It converts,
    but XNNPACK cannot sum a tensor of ten axes, which UpSampling2D makes.
    """
    shape = operation.shape_of(op, op.inputs[0])
    tiled = operation.shape_of(op, op.outputs[0])
    grad = y_grad
    for axis, (length, whole) in enumerate(zip(shape, tiled, strict=True)):
        if length == whole:
            continue
        count = whole // length
        before, after = grad.shape[:axis], grad.shape[axis + 1 :]
        rows = (math.prod(before), count, length, math.prod(after))
        grad = tf.reduce_sum(tf.reshape(grad, rows), 1)
        grad = tf.reshape(grad, (*before, length, *after))
    return grad, None


def mirror_pad(op: tf.Operation, y_grad: tf.Tensor) -> tuple[tf.Tensor, None]:
    """The gradient of MirrorPad: each margin folded back onto its source."""
    margins = operation.constant(op, op.inputs[1]).tolist()
    # REFLECT does not repeat the pixel at the border itself.
    skip = int(operation.attribute(op, "mode") == "REFLECT")
    grad = y_grad
    for axis, (before, after) in enumerate(margins):
        if before == after == 0:
            continue
        length = grad.shape[axis] - before - after
        head, total, tail = tf.split(grad, (before, length, after), axis)
        for margin, width, start in (
            (head, before, skip),
            (tail, after, length - skip - after),
        ):
            if width:
                pads = [(0, 0)] * grad.shape.rank
                pads[axis] = (start, length - start - width)
                total += tf.pad(tf.reverse(margin, [axis]), pads)
        grad = total
    return grad, None


def resize(op: tf.Operation, y_grad: tf.Tensor) -> tuple[tf.Tensor, None]:
    """The gradient of ResizeBilinear and ResizeNearestNeighbor.

    Both blend along rows, then along columns, so the gradient is a product
    with one constant matrix on either side.
    """
    shape = operation.shape_of(op, op.inputs[0])
    batch, height, width, channels = shape
    _, new_height, new_width, _ = operation.shape_of(op, y_grad)
    rows = tf.constant(_blend(op, height, new_height).T, y_grad.dtype)
    columns = tf.constant(_blend(op, width, new_width).T, y_grad.dtype)
    grad = tf.reshape(y_grad, (batch, new_height, new_width * channels))
    grad = tf.matmul(rows[tf.newaxis], grad)
    grad = tf.reshape(grad, (batch * height, new_width, channels))
    grad = tf.matmul(columns[tf.newaxis], grad)
    return tf.cast(tf.reshape(grad, shape), op.inputs[0].dtype), None


def _slices(op: tf.Operation) -> list[_Slice]:
    """What `op` takes from each axis of its input."""
    shape = operation.shape_of(op, op.inputs[0])
    begin, end, step = (operation.constant(op, t) for t in op.inputs[1:])
    masks = {
        name: operation.attribute(op, f"{name}_mask")
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }

    def marked(name: str, k: int) -> bool:
        return bool(masks[name] >> k & 1)

    written = sum(
        not marked("new_axis", k) and not marked("ellipsis", k)
        for k in range(len(begin))
    )
    slices: list[_Slice] = []
    for k in range(len(begin)):
        if marked("ellipsis", k):
            for _ in range(len(shape) - written):
                length = shape[len(slices)]
                slices.append(_Slice(0, 1, length, length))
            continue
        if marked("new_axis", k):
            continue
        length = shape[len(slices)]
        if marked("shrink_axis", k):
            slices.append(_Slice(int(begin[k]) % length, 1, 1, length))
            continue
        first, behind, stride = slice(
            None if marked("begin", k) else int(begin[k]),
            None if marked("end", k) else int(end[k]),
            int(step[k]),
        ).indices(length)
        taken = len(range(first, behind, stride))
        if taken == 0:
            first, stride = 0, 1
        slices.append(_Slice(first, stride, taken, length))
    slices += [_Slice(0, 1, n, n) for n in shape[len(slices) :]]
    return slices


def _spread(x: tf.Tensor, axis: int, step: int) -> tf.Tensor:
    """Puts `step - 1` zeros behind each pixel of `axis`."""
    shape = list(x.shape)
    inner = math.prod(shape[axis + 1 :])
    x = tf.reshape(x, (math.prod(shape[: axis + 1]), inner))
    x = tf.pad(x, ((0, 0), (0, (step - 1) * inner)))
    shape[axis] *= step
    return tf.reshape(x, shape)


def _blend(op: tf.Operation, length: int, new_length: int) -> np.ndarray:
    """The matrix `(new_length, length)` that `op` applies along an axis.

    What the operation makes of a unit vector is a column of its matrix.
    """
    unit = np.eye(length, dtype=np.float32)
    with tf.init_scope():
        columns = getattr(tf.raw_ops, op.type)(
            images=tf.reshape(unit, (1, length, 1, length)),
            size=(new_length, 1),
            align_corners=operation.attribute(op, "align_corners"),
            half_pixel_centers=operation.attribute(op, "half_pixel_centers"),
        )
    matrix: np.ndarray = columns.numpy().reshape(new_length, length)
    return matrix
