"""Applies a `Rule` to a tensor: packed codes, scales, and back.

Written once, in TensorFlow operations that also convert to LiteRT builtins,
so in-process training, the wire and the phone see the same bits. Three habits
keep it so, because each runtime optimizes in its own way:

* divide only by tensors: dividing by a constant is rewritten into a product
  with its rounded reciprocal, in graphs but not in eager code;
* never round a product and then add to it: a compiler may fuse the two and
  skip the rounding;
* keep everything else in integers below 2**24, which float32 holds exactly,
  so that the order of a sum does not matter.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import tensorflow as tf

from keras_split.compression import topk
from keras_split.compression.formats.floats import Float16
from keras_split.compression.rules import Rule
from keras_split.errors import QuantizationError

_FLOAT16 = Float16()


class QuantizedTensor(NamedTuple):
    """What crosses the network in place of a tensor `(batch, *shape)`.

    Attributes:
        codes: Shape `(batch, rule.codes_per_example(shape))`, dtype
            `rule.code_dtype`. int4 and int2 put 2 or 4 codes in a byte, the
            first in the lowest bits; the end of a row is filled with zeros.
            bfloat16 codes are the bit patterns, as uint16.
        scales: `[scale, zero_point]` in each row, float32, shape `(rows, 2)`
            with `rows = rule.scale_rows(batch, shape)`. None for floats.
    """

    codes: tf.Tensor
    scales: tf.Tensor | None


def quantize(
    x: tf.Tensor, rule: Rule, positions: tf.Tensor | None = None
) -> QuantizedTensor:
    """Rounds a batch to the codes of `rule`.

    Integer rules are affine, and zero is always exact: a group of values that
    share a scale spans `[lo, hi]` with `lo <= 0 <= hi`, and

        scale      = (hi - lo) / (2**bits - 1)
        zero_point = round(-lo / scale)
        code       = round(x / scale) + zero_point

    So `|x - dequantize(quantize(x))|` is at most `scale / 2` with
    `rounding="nearest"` and below `scale` with `"stochastic"`, plus the
    float32 rounding of the formulas: `2**-21 * (hi - lo)`. The stochastic
    dither is a function of `x` alone, see `_dither`.

    float16 saturates at 65504 instead of becoming infinite. Not-a-number
    and infinite values stay visible: floats carry them (as bfloat16 does a
    value that rounds beyond its range), and an integer group that holds one
    gets a scale that is not finite. Integer groups need values below 1e30.

    Args:
        x: Activations or gradients, floats, shape `(batch, *shape)`. The
            batch may be unknown, `shape` must be static.
        rule: What to round to. With `rule.block` above 1, only the value of
            largest magnitude of each block is rounded and sent.
        positions: Which one of each block is meant, `(batch, values)` int32,
            for a rule whose positions are known: what
            `topk.positions_of` said of the tensor that `x` is the gradient
            of.

    Returns:
        A `QuantizedTensor` of `rule.nbytes(batch, shape)` bytes.

    Raises:
        QuantizationError: If `x` is not a float, or its shape is not static.

    Example:
    >>> q = quantize(tf.constant([[0.0, -1.0, 0.5]]), Rule("int8"))
    >>> q.codes.numpy()
    array([[170,   0, 255]], dtype=uint8)
    >>> quantize(tf.constant([[0.0, -1.0, 0.5]]), Rule("int4")).codes.numpy()
    array([[10, 15]], dtype=uint8)
    """
    x = tf.convert_to_tensor(x)
    shape = _example_shape(x)
    flat = _flatten(x, shape)
    if rule.block > 1:
        _check_positions(rule, positions)
        return _quantize_blocks(flat, rule, positions)
    return QuantizedTensor(*rule.format.quantize(flat, rule, shape))


def dequantize(
    quantized: QuantizedTensor,
    rule: Rule,
    shape: Sequence[int],
    dtype: tf.DType = tf.float32,
    positions: tf.Tensor | None = None,
) -> tf.Tensor:
    """The tensor that codes and scales stand for.

    Args:
        quantized: What `quantize` returned, or the other party sent.
        rule: The rule it was quantized with.
        shape: Shape of one example, without the batch.
        dtype: Float dtype of the result. float16 saturates here as well.
        positions: As in `quantize`.

    Returns:
        A tensor of shape `(batch, *shape)`.

    Raises:
        QuantizationError: If `quantized` does not have the dtypes and shapes
            that `rule` gives to examples of `shape`.

    Example:
    >>> rule = Rule("int8")
    >>> x = tf.constant([[0.0, -100.0, 155.0, 0.4]])
    >>> dequantize(quantize(x, rule), rule, (4,)).numpy()
    array([[   0., -100.,  155.,    0.]], dtype=float32)
    """
    _check_quantized(quantized, rule, shape)
    codes, scales = quantized
    if rule.block > 1:
        _check_positions(rule, positions)
        if not rule.known:
            positions = topk.positions_of(codes, rule, shape)
        values = values_of(quantized, rule, shape)
        flat = topk.spread(values, positions, rule.block, math.prod(shape))
        return _to_dtype(flat, shape, dtype)
    flat = rule.format.dequantize(codes, scales, rule, shape)
    return _to_dtype(flat, shape, dtype)


def values_of(
    quantized: QuantizedTensor, rule: Rule, shape: Sequence[int]
) -> tf.Tensor:
    """The values that crossed, float32.

    One a block, shape `(batch, values)`; with `rule.block` 1 all of them, in
    their shape.
    """
    if rule.block == 1:
        return dequantize(quantized, rule, shape)
    codes = quantized.codes[:, rule.position_bytes(shape) :]
    return dequantize(
        QuantizedTensor(codes, quantized.scales),
        _of_values(rule),
        (rule.values_per_example(shape),),
    )


def simulate(
    x: tf.Tensor, rule: Rule, positions: tf.Tensor | None = None
) -> tf.Tensor:
    """What the other party sees of `x`: quantized and dequantized.

    Equal to `dequantize(quantize(x, rule), rule, shape, x.dtype)` bit for
    bit, without the packing. float32 is the identity and costs nothing.

    Example:
    >>> simulate(tf.constant([[0.0, -1.0, 0.6]]), Rule("int2")).numpy()
    array([[ 0.        , -1.0666667 ,  0.53333336]], dtype=float32)
    """
    x = tf.convert_to_tensor(x)
    shape = _example_shape(x)
    if rule.block > 1:
        quantized = quantize(x, rule, positions)
        return dequantize(quantized, rule, shape, x.dtype, positions)
    if rule.format.exact and x.dtype != tf.float64:
        return x
    flat = rule.format.simulate(_flatten(x, shape), rule, shape)
    return _to_dtype(flat, shape, x.dtype)


def _quantize_blocks(
    flat: tf.Tensor, rule: Rule, positions: tf.Tensor | None
) -> QuantizedTensor:
    """Positions and values of one of each block."""
    split = topk.split(flat, rule.block)
    if not rule.known:
        positions = topk.largest(split)
    quantized = quantize(topk.take(split, positions), _of_values(rule))
    packed = topk.pack_positions(positions, rule)
    codes = tf.concat([*packed, quantized.codes], axis=1)
    return QuantizedTensor(codes, quantized.scales)


def _of_values(rule: Rule) -> Rule:
    """How the values that were taken out of blocks are rounded."""
    return replace(rule, block=1, known=False)


def _to_dtype(
    flat: tf.Tensor, shape: Sequence[int], dtype: tf.DType
) -> tf.Tensor:
    if dtype == tf.float16 and flat.dtype == tf.float32:
        flat = _FLOAT16.encode(flat)
    return tf.cast(tf.reshape(flat, (-1, *shape)), dtype)


def _flatten(x: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    return tf.reshape(tf.cast(x, tf.float32), (-1, math.prod(shape)))


def _example_shape(x: tf.Tensor) -> tuple[int, ...]:
    """The static shape of one example of `x`, checked."""
    if not x.dtype.is_floating:
        raise QuantizationError(
            "Expected a tensor of floats to quantize. Received: dtype="
            f"{x.dtype.name}. Cut where activations are floats, or cast them."
        )
    known = x.shape.rank is not None and x.shape.rank > 0
    shape = tuple(x.shape[1:]) if known else ()
    if not known or not all(shape):
        raise QuantizationError(
            "Expected a tensor (batch, ...) whose axes behind the batch are "
            f"static and not empty. Received: shape={x.shape}. Give the model "
            "an input shape without None."
        )
    return shape


def _check_positions(rule: Rule, positions: tf.Tensor | None) -> None:
    if rule.known == (positions is None):
        raise QuantizationError(
            "Expected the positions that crossed before, for a rule whose "
            "positions are known, and none for others. Received: known="
            f"{rule.known} and positions={positions}. Pass what positions_of "
            "read off the codes of the activations."
        )


def _check_quantized(
    quantized: QuantizedTensor, rule: Rule, shape: Sequence[int]
) -> None:
    codes, scales = quantized
    width = rule.codes_per_example(shape)
    fits = codes.dtype == rule.code_dtype and codes.shape.is_compatible_with(
        (None, width)
    )
    if not rule.has_scales:
        fits = fits and scales is None
    else:
        fits = (
            fits
            and scales is not None
            and scales.dtype == tf.float32
            and scales.shape.is_compatible_with((None, 2))
        )
    if not fits:
        described = "None" if scales is None else f"{scales.dtype.name} "
        described += "" if scales is None else f"{scales.shape}"
        raise QuantizationError(
            f"Expected codes of {rule.dtype} for examples of shape "
            f"{tuple(shape)}: {rule.code_dtype} (batch, {width}) with scales "
            f"{'float32 (rows, 2)' if rule.has_scales else 'None'}. Received: "
            f"codes {codes.dtype.name} {codes.shape}, scales {described}. "
            "Dequantize with the rule and the shape they were quantized with."
        )
