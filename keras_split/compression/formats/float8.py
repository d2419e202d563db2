"""float8 e4m3: a sign, four bits of exponent and three of mantissa."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_split.compression.formats.format import Array
from keras_split.compression.formats.format import ScaledFormat
from keras_split.compression.formats.format import spread_scales

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_split.compression.rules import Rule

MAX = 448.0
_NAN = 0x7F  # and with the sign's bit; e4m3 has no infinity
_TOP = _NAN - 1
_MIN_EXPONENT = -6  # below it numbers are 2**-9 apart
# Exponent and mantissa of a float32.
_MANTISSA_BITS, _BIAS = 23, 127
_ONE_AND_THREE_QUARTERS = 0x600000  # the mantissa of MAX


class Float8E4M3(ScaledFormat):
    """OCP E4M3FN beside a scale that is a power of two.

    Micikevicius et al., "FP8 Formats for Deep Learning", 2022, arXiv
    2209.05433. Numbers reach from 2**-9 to 448, too little for gradients of
    a cut, of which most are below 2**-9. So each group is first multiplied by
    the power of two, an exact product, that brings its largest magnitude
    above 224 and to at most 448: nothing ever saturates, and with `a` for
    that magnitude

        |x - x'| <= max(|x| / 16, a / 229376)

    where int8 has `a / 510` or, with both signs, `a / 255`: small values keep
    three bits and their sign beside large ones, and large ones keep fewer.
    Codes are the bits, as uint8, rounded to nearest, ties to even; the
    rounding of a rule is ignored, and zero points are zero.
    """

    name = "float8_e4m3"
    bits = 8
    code_dtype = "uint8"

    def quantize(
        self, x: "tf.Tensor", rule: "Rule", shape: Sequence[int]
    ) -> "tuple[tf.Tensor, tf.Tensor | None]":
        """Multiplies each group by its power of two, and rounds."""
        import tensorflow as tf

        from keras_split.compression import scales

        grouped = scales.grouped(x, rule, shape)
        axis = scales.axis_of(rule)
        largest = tf.reduce_max(tf.abs(grouped), axis, keepdims=True)
        largest = tf.maximum(largest, MAX * scales.MIN_SCALE)
        # A mantissa above that of 448 carries into the exponent.
        carry = (1 << _MANTISSA_BITS) - 1 - _ONE_AND_THREE_QUARTERS
        exponent = _exponent(largest, carry) - 8
        scale = scales.visible(_power_of_two(exponent), grouped, axis)
        codes = _encode(grouped * _power_of_two(-exponent))
        joined = scales.joined(scale, tf.zeros_like(scale))
        return scales.flat(codes, shape), joined

    def dequantize(
        self,
        codes: "tf.Tensor",
        scales: "tf.Tensor | None",
        rule: "Rule",
        shape: Sequence[int],
    ) -> "tf.Tensor":
        """The numbers times their scale."""
        from keras_split.compression.scales import grouped
        from keras_split.compression.scales import scale_of

        numbers = _decode(grouped(codes, rule, shape))
        return numbers * scale_of(scales, rule)

    def values(
        self,
        codes: Array,
        scales: Array | None,
        rule: "Rule",
        shape: Sequence[int],
    ) -> Array:
        """Looks the numbers up and multiplies them by their scale."""
        assert scales is not None
        scale, _ = spread_scales(scales, rule, shape)
        values: Array = _TABLE[codes] * scale
        return values

    def is_finite(self, codes: Array, scales: Array | None) -> bool:
        """Whether scales are finite, and no code is the one that is not."""
        sound = super().is_finite(codes, scales)
        return sound and not ((codes & _NAN) == _NAN).any()

    def largest(self, scales: Array) -> Array:
        """448 times the scale; NaN beside a zero point that is not finite."""
        scale, zero_point = scales.T
        largest: Array = np.abs(scale) * MAX + 0 * zero_point
        return largest


def _encode(x: "tf.Tensor") -> "tf.Tensor":
    """Bits of the numbers next to float32 of at most 448, as uint8.

    All but the rounding is exact: products with powers of two, and integers
    below 2**8.
    """
    import tensorflow as tf

    magnitude = tf.abs(x)
    exponent = tf.maximum(_exponent(magnitude), _MIN_EXPONENT)
    # Three bits behind the leading one, of which numbers below 2**-6 have
    # none: eighths of the exponent's power, 0 to 16, where 8 of them are
    # what the exponent itself counts for, so that 16 carries into it.
    eighths = tf.round(magnitude * _power_of_two(3 - exponent))
    counted = 8.0 * tf.cast(exponent - _MIN_EXPONENT, tf.float32)
    code = tf.minimum(counted + eighths, float(_TOP))
    sign = tf.where(tf.bitcast(x, tf.int32) < 0, 128.0, 0.0)  # also of zero
    return tf.cast(code + sign, tf.uint8)


def _decode(codes: "tf.Tensor") -> "tf.Tensor":
    """The inverse of `_encode`; NaN for what stands for it."""
    import tensorflow as tf

    codes = tf.cast(codes, tf.float32)
    negative = codes >= 128.0
    code = tf.where(negative, codes - 128.0, codes)
    # 0 for numbers below 2**-6, which have the exponent of those above.
    row = tf.floor(code * 0.125)
    leading = tf.where(row > 0.0, 8.0, 0.0)
    exponent = tf.maximum(row, 1.0) + float(_MIN_EXPONENT - 1 - 3)
    power = _power_of_two(tf.cast(exponent, tf.int32))
    # The sign is the power's and not the product's: LiteRT negates by taking
    # from zero, which loses the sign of a zero.
    power = tf.where(negative, -power, power)
    number = (code - 8.0 * row + leading) * power
    return tf.where(code > float(_TOP), np.nan, number)


def _exponent(x: "tf.Tensor", more: int = 0) -> "tf.Tensor":
    """Exponent of float32 of 0 or more, int32, read off the bits.

    A logarithm would round, and not everywhere alike.
    """
    import tensorflow as tf

    bits = tf.bitcast(x, tf.int32) + more
    return tf.bitwise.right_shift(bits, _MANTISSA_BITS) - _BIAS


def _power_of_two(exponent: "tf.Tensor") -> "tf.Tensor":
    """`2.0**exponent` for int32 exponents of -126 to 127, exactly."""
    import tensorflow as tf

    bits = (exponent + _BIAS) * (1 << _MANTISSA_BITS)
    return tf.bitcast(bits, tf.float32)


def _table() -> Array:
    codes = np.arange(256)
    row, last = codes % 128 // 8, codes % 8
    powers = 2.0 ** (np.maximum(row, 1) - 10)
    numbers = np.where(row > 0, 8 + last, last) * powers
    numbers[codes % 128 > _TOP] = np.nan
    return np.where(codes < 128, numbers, -numbers).astype(np.float32)


_TABLE = _table()
