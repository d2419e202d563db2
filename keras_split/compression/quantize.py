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

import numpy as np
import tensorflow as tf

from keras_split.compression import topk
from keras_split.compression.packing import pack
from keras_split.compression.packing import unpack
from keras_split.compression.rules import Rule
from keras_split.errors import QuantizationError

_FLOAT16_MAX = 65504.0
_FLOAT32_MAX = float(np.finfo(np.float32).max)
# Groups that span less are as good as zero. It keeps the scale, and all that
# is computed with it, away from subnormals: some runtimes flush those.
_MIN_SCALE = 2.0**-100
_AXES = {"tensor": None, "example": 1, "channel": 0}


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


class _Steps(NamedTuple):
    """Unpacked integer codes, still float32, beside what they stand for.

    `codes` has shape `(batch, elements)`, or `(positions, channels)` with a
    scale per channel; `scale` and `zero_point` broadcast against it.
    """

    codes: tf.Tensor
    scale: tf.Tensor
    zero_point: tf.Tensor


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
    if rule.dtype == "float32":
        return QuantizedTensor(flat, None)
    if rule.dtype == "float16":
        return QuantizedTensor(_to_float16(flat), None)
    if rule.dtype == "bfloat16":
        return QuantizedTensor(
            tf.bitcast(tf.cast(flat, tf.bfloat16), tf.uint16), None
        )
    steps = _to_steps(flat, shape, rule)
    codes = tf.reshape(steps.codes, (-1, math.prod(shape)))
    scales = tf.concat(
        [
            tf.reshape(steps.scale, (-1, 1)),
            tf.reshape(steps.zero_point, (-1, 1)),
        ],
        axis=1,
    )
    return QuantizedTensor(pack(codes, rule.bits), scales)


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
    if rule.is_float:
        if rule.dtype == "bfloat16":
            codes = tf.bitcast(codes, tf.bfloat16)
        return _to_dtype(tf.cast(codes, tf.float32), shape, dtype)
    codes = unpack(codes, rule.bits, math.prod(shape))
    scale, zero_point = tf.split(scales, 2, axis=1)
    if rule.granularity == "channel":
        codes = _by_channel(codes, shape)
        scale = tf.reshape(scale, (1, -1))
        zero_point = tf.reshape(zero_point, (1, -1))
    return _from_steps(_Steps(codes, scale, zero_point), shape, dtype)


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
    plain = rule.dtype == "float32" and rule.block == 1
    if plain and x.dtype != tf.float64:
        return x
    if rule.is_float or rule.block > 1:
        quantized = quantize(x, rule, positions)
        return dequantize(quantized, rule, shape, x.dtype, positions)
    steps = _to_steps(_flatten(x, shape), shape, rule)
    return _from_steps(steps, shape, x.dtype)


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


def _to_steps(flat: tf.Tensor, shape: Sequence[int], rule: Rule) -> _Steps:
    """Integer codes of a float32 `(batch, elements)`, before packing."""
    levels = 2.0**rule.bits - 1
    axis = _AXES[rule.granularity]
    x = flat
    if rule.granularity == "channel":
        x = _by_channel(flat, shape)
    lo = tf.minimum(tf.reduce_min(x, axis, keepdims=True), 0.0)
    hi = tf.maximum(tf.reduce_max(x, axis, keepdims=True), 0.0)
    scale = (hi - lo) * np.float32(1 / levels)
    scale = tf.where(scale < _MIN_SCALE, _MIN_SCALE, scale)
    # LiteRT's minimum and maximum lose not-a-numbers; a sum does not.
    total = tf.reduce_sum(x, axis, keepdims=True)
    scale = tf.where(tf.abs(total) <= _FLOAT32_MAX, scale, np.nan)
    # abs and not minus, which would turn an all-positive group's 0.0 to -0.0.
    zero_point = tf.round(tf.abs(lo) / scale)
    steps = x / scale
    if rule.rounding == "nearest":
        # `lo` rounds to 0 because rounding is symmetric, so only the top can
        # stick out: both ends may round up.
        codes = tf.minimum(tf.round(steps) + zero_point, levels)
    else:
        steps = tf.reshape(steps, (-1, *_rows_and_columns(shape)))
        codes = tf.floor(steps + _dither(steps))
        codes = tf.reshape(codes, (-1, x.shape[1]))
        codes = tf.clip_by_value(codes + zero_point, 0.0, levels)
    return _Steps(codes, scale, zero_point)


def _from_steps(
    steps: _Steps, shape: Sequence[int], dtype: tf.DType
) -> tf.Tensor:
    """The inverse of `_to_steps`, up to the rounding."""
    values = (steps.codes - steps.zero_point) * steps.scale
    return _to_dtype(values, shape, dtype)


def _dither(steps: tf.Tensor) -> tf.Tensor:
    """Numbers in (0, 1) that turn `floor` into stochastic rounding.

    Both parties and the phone must draw the same numbers, so there is no
    random state: element `i` of an example gets `frac(i * phi + offset)` with
    the golden ratio `phi`. This Kronecker sequence fills the unit interval
    more evenly than random numbers do (its discrepancy falls as log(n) / n;
    Niederreiter, "Random Number Generation and Quasi-Monte Carlo Methods",
    1992, chapter 3), so the rounding errors of an example nearly cancel. The
    offset is a hash of up to 1024 of the example's own values, so another
    example or another step is dithered differently.

    All values are multiples of 2**-16 and every sum below is exact, whatever
    its order. `steps + dither` cannot round up to the next integer either:
    it stays below 2**8 and there float32 resolves 2**-16.

    Args:
        steps: Values divided by their scale, shape `(batch, rows, columns)`.

    Returns:
        The dither, same shape.
    """
    rows, columns = steps.shape[1:]
    flat = tf.reshape(steps, (-1, rows * columns))
    # A stride that shares no factor with the columns visits all of them.
    stride = -(-rows * columns // 1024)
    while math.gcd(stride, columns) > 1:
        stride += 1
    # At most 1024 integers of at most 16 * 255: below 2**22.
    digest = tf.reduce_sum(tf.floor(16.0 * flat[:, ::stride]), 1)
    # Fractional bits of a product with an odd number near 1024 * phi: the
    # low 10 bits of the digest, shuffled.
    offset = _fraction(633.0 * _fraction(digest * 2.0**-10))
    # Two short tables and not one of `rows * columns` entries, which a
    # converter would store in the phone's file. `_fraction` between the two
    # additions keeps it from adding the tables up by itself.
    by_row = _fraction(
        tf.reshape(offset, (-1, 1, 1)) + _golden(rows, columns)[:, np.newaxis]
    )
    return _fraction(by_row + (_golden(columns, 1) + np.float32(2.0**-16)))


def _golden(count: int, step: int) -> np.ndarray:
    """`frac(i * step * phi)` for `count` values of i, multiples of 2**-15."""
    phi = (math.sqrt(5) - 1) / 2
    fractions: np.ndarray = np.arange(count) * step * phi % 1.0
    fractions = np.floor(fractions * 2**15) / 2**15
    return fractions.astype(np.float32)


def _fraction(x: tf.Tensor) -> tf.Tensor:
    return x - tf.floor(x)


def _to_float16(x: tf.Tensor) -> tf.Tensor:
    """Casts float32 to float16; finite values stay finite.

    The added term is far below half a unit in the last place of anything
    finite, and keeps an infinity infinite.
    """
    bounded = tf.clip_by_value(x, -_FLOAT16_MAX, _FLOAT16_MAX)
    return tf.cast(bounded + x * 2.0**-126, tf.float16)


def _to_dtype(
    flat: tf.Tensor, shape: Sequence[int], dtype: tf.DType
) -> tf.Tensor:
    if dtype == tf.float16 and flat.dtype == tf.float32:
        flat = _to_float16(flat)
    return tf.cast(tf.reshape(flat, (-1, *shape)), dtype)


def _flatten(x: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    return tf.reshape(tf.cast(x, tf.float32), (-1, math.prod(shape)))


def _rows_and_columns(shape: Sequence[int]) -> tuple[int, int]:
    """Positions and channels of one example."""
    columns = shape[-1] if shape else 1
    return math.prod(shape) // columns, columns


def _by_channel(flat: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    return tf.reshape(flat, (-1, _rows_and_columns(shape)[1]))


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
    if rule.is_float:
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
            f"{'None' if rule.is_float else 'float32 (rows, 2)'}. Received: "
            f"codes {codes.dtype.name} {codes.shape}, scales {described}. "
            "Dequantize with the rule and the shape they were quantized with."
        )
