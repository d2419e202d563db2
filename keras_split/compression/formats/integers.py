"""int8, int4 and int2: evenly spaced codes beside a scale and a zero point."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_split.compression.formats.format import Array
from keras_split.compression.formats.format import ScaledFormat
from keras_split.compression.formats.format import spread_scales

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_split.compression.rules import Rule


class Integer(ScaledFormat):
    """Codes from 0 to `2**bits - 1`, packed into full bytes.

    `keras_split.compression.quantize.quantize` has the formula.

    Args:
        bits: 1, 2, 4 or 8; the first codes lie in a byte's lowest bits.
    """

    code_dtype = "uint8"

    def __init__(self, bits: int) -> None:
        self.name = f"int{bits}"
        self.bits = bits

    def quantize(
        self, x: "tf.Tensor", rule: "Rule", shape: Sequence[int]
    ) -> "tuple[tf.Tensor, tf.Tensor | None]":
        """Rounds to codes and packs them."""
        from keras_split.compression import affine
        from keras_split.compression import scales
        from keras_split.compression.packing import pack

        steps = affine.to_steps(x, shape, rule)
        codes = scales.flat(steps.codes, shape)
        joined = scales.joined(steps.scale, steps.zero_point)
        return pack(codes, self.bits), joined

    def dequantize(
        self,
        codes: "tf.Tensor",
        scales: "tf.Tensor | None",
        rule: "Rule",
        shape: Sequence[int],
    ) -> "tf.Tensor":
        """Unpacks the codes and multiplies them."""
        from keras_split.compression import affine
        from keras_split.compression.packing import unpack
        from keras_split.compression.scales import apart
        from keras_split.compression.scales import grouped

        codes = unpack(codes, self.bits, math.prod(shape))
        scale, zero_point = apart(scales, rule)
        codes = grouped(codes, rule, shape)
        return affine.from_steps(affine.Steps(codes, scale, zero_point))

    def simulate(
        self, x: "tf.Tensor", rule: "Rule", shape: Sequence[int]
    ) -> "tf.Tensor":
        """Leaves out the packing."""
        from keras_split.compression import affine

        return affine.from_steps(affine.to_steps(x, shape, rule))

    def values(
        self,
        codes: Array,
        scales: Array | None,
        rule: "Rule",
        shape: Sequence[int],
    ) -> Array:
        """Unpacks the codes and multiplies them."""
        assert scales is not None
        shifts = np.arange(0, 8, self.bits, dtype=np.uint8)
        small = (codes[:, :, np.newaxis] >> shifts) & (2**self.bits - 1)
        numbers = small.reshape(len(codes), -1)[:, : math.prod(shape)]
        scale, zero_point = spread_scales(scales, rule, shape)
        values: Array = (numbers.astype(np.float32) - zero_point) * scale
        return values

    def largest(self, scales: Array) -> Array:
        """What the code at either end stands for."""
        scale, zero_point = scales.T
        top = 2**self.bits - 1
        ends = np.maximum(np.abs(zero_point), np.abs(top - zero_point))
        largest: Array = ends * np.abs(scale)
        return largest
