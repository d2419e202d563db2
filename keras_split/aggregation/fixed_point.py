"""Weighted vectors as integers, which add up modulo 2^32 or 2^64.

Numbers under masks are integers: a mask hides one evenly only modulo a power
of two, and integers add up to the same sum in any order.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.errors import OptionError
from keras_split.errors import QuantizationError

_Vector = np.ndarray[Any, Any]
# By bits: log2 of the greatest number of a vector. 16 is much for a change of
# weights; 64 bits have room for a million, variances of batch normalization
# over raw pixels, say.
_RANGES = {32: 4, 64: 20}
# By bits: log2 of the greatest weight of a phone, its examples.
_WEIGHTS = {32: 20, 64: 30}


def exponent(weight: float, bits: int) -> int:
    """The least `e >= 0` with `weight <= 2**e`.

    That is all that others are told of a phone's weight.

    Raises:
        QuantizationError: If a weight of so many bits cannot be that.
    """
    most = _of_bits(_WEIGHTS, bits)
    if not 0 <= weight <= 2**most:
        raise QuantizationError(
            f"Expected a weight from 0 to 2^{most}, examples of one phone, "
            f"with masks of {bits} bits. Received: {weight}."
        )
    mantissa, power = math.frexp(weight)
    return max(0, power - (mantissa == 0.5))


def is_exponent(value: int, bits: int) -> bool:
    """Whether it can be that of a weight."""
    return 0 <= value <= _of_bits(_WEIGHTS, bits)


def check_range(vector: _Vector, bits: int) -> None:
    """Refuses numbers that masks of so many bits have no room for.

    Raises:
        QuantizationError: If one is not finite, or too great.
    """
    limit = 2.0 ** _of_bits(_RANGES, bits)
    greatest = float(np.max(np.abs(vector), initial=0.0))
    if not greatest <= limit:
        wider = ", or serve with masks of 64 bits" if bits < 64 else ""
        raise QuantizationError(
            f"Expected numbers from -{limit:,.0f} to {limit:,.0f} under masks "
            f"of {bits} bits. Received: {greatest:g}. Lower the learning rate"
            f"{wider}."
        )


@dataclass(frozen=True)
class FixedPoint:
    """How all phones of a round write their numbers.

    A number `x` of a phone with weight `w` becomes `round(w * x * 2**f)`. The
    weight comes as one number more, `x = 1`. What fits for each phone fits
    for their sum, so it never wraps.

    Attributes:
        bits: 32 or 64: integers are added modulo 2^bits.
        fraction: `f`, binary digits behind the point.
    """

    bits: int
    fraction: int

    @classmethod
    def of(cls, bits: int, exponents: Iterable[int]) -> "FixedPoint":
        """The finest that holds the sum of some phones.

        Args:
            bits: 32 or 64.
            exponents: Of the weight of each.

        Raises:
            QuantizationError: If they leave no room.
        """
        whole = sum(1 << power for power in exponents)
        # One bit for the sign, and one for what is rounded up.
        room = bits - 2 - _of_bits(_RANGES, bits)
        fraction = room - max(whole - 1, 0).bit_length()
        if fraction < 0:
            raise QuantizationError(
                f"Expected phones with {1 << room:,} examples together at "
                f"most, under masks of {bits} bits. Received: {whole:,}. "
                "Serve with masks of 64 bits, or with fewer phones a round."
            )
        return cls(bits, fraction)

    def encode(self, vector: _Vector, weight: float) -> _Vector:
        """The integers of one phone.

        Args:
            vector: Shape `(size,)`, float32.
            weight: Its examples, within the exponent that it told.

        Returns:
            Shape `(size + 1,)`, uint32 or uint64; the last is the weight's.

        Raises:
            QuantizationError: If a number does not fit.
        """
        check_range(vector, self.bits)
        scaled = np.empty(vector.size + 1, np.float64)
        # A float32 times a whole number below 2^29 is exact in float64.
        np.multiply(vector, np.float64(weight), out=scaled[:-1])
        scaled[-1] = weight
        np.rint(np.ldexp(scaled, self.fraction), out=scaled)
        # Two's complement: numbers below zero are there modulo 2^bits.
        whole = scaled.astype(np.int64).view(np.uint64)
        return whole if self.bits == 64 else whole.astype(np.uint32)

    def decode(self, total: _Vector) -> tuple[_Vector, float]:
        """The mean, and the weight of all, from the sum of their integers.

        Args:
            total: Shape `(size + 1,)`, uint32 or uint64.

        Returns:
            Shape `(size,)`, float32: zeros if all only listened. And the
            weight.
        """
        signed = total.view(np.int64 if self.bits == 64 else np.int32)
        weight = float(signed[-1])
        if weight <= 0:
            return np.zeros(total.size - 1, np.float32), 0.0
        mean = np.divide(signed[:-1], weight, dtype=np.float64)
        return mean.astype(np.float32), math.ldexp(weight, -self.fraction)

    def error(self, phones: int, weight: float, mean: _Vector) -> _Vector:
        """How far a decoded mean can be from that of real numbers.

        Each phone rounds by half a unit, `2**-f / 2`, and its weight likewise
        if it is no whole number; float32 rounds the mean. With weights of 1
        or more that is at most `phones * 2e-12` with 64 bits and `phones *
        3e-8` with 32, beside the rounding to float32; more if phones that
        brought much of the weight have dropped out, by its part.

        Args:
            phones: How many were added up.
            weight: Of all together.
            mean: Numbers, any shape.

        Returns:
            A bound for each.
        """
        rounded = math.ldexp(phones, -self.fraction - 1) / weight
        size = np.abs(mean).astype(np.float64)
        return rounded * (1 + size) + size * 2.0**-23


def _of_bits(table: dict[int, int], bits: int) -> int:
    if bits not in table:
        raise OptionError(
            f"Expected masks of {' or '.join(map(str, table))} bits. "
            f"Received: {bits!r}."
        )
    return table[bits]
