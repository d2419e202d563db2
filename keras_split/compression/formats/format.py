"""What a format is: how the numbers of a tensor become codes, and back."""

import math
from abc import ABC
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeAlias

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_split.compression.rules import Rule

Array: TypeAlias = np.ndarray[Any, Any]
# What codes may be: dtypes that NumPy, TensorFlow, LiteRT and the wire have.
CODE_DTYPES = (
    *("uint8", "int8", "uint16", "int16", "int32", "int64"),
    *("float16", "float32"),
)


class Format(ABC):
    """One dtype of a `Rule`: all that is particular to it, in one object.

    Most formats are a `FloatFormat`, whose numbers are codes of their own, or
    a `ScaledFormat`, whose codes mean something beside a scale; they leave
    the least to write. A format has no state and is used by many threads.

    What computes on tensors is written in TensorFlow operations that also
    convert to LiteRT builtins, so that the phone gets the same bits; see
    `keras_split.compression.quantize` for the habits that keep it so. Import
    TensorFlow in those methods and not above them: rules, messages and the
    phone in Python know formats where it is not installed.

    Attributes:
        name: What `Rule.dtype` and the wire call it.
        bits: Width of one number's code.
        code_dtype: NumPy dtype of packed codes, one of `CODE_DTYPES`.
        has_scales: Whether scales cross beside the codes, see
            `ScaledFormat`.
        exact: Whether any float32 comes out as it went in.
    """

    name: str
    bits: int
    code_dtype: str
    has_scales: bool = False
    exact: bool = False

    @property
    def itemsize(self) -> int:
        """Bytes of one packed code."""
        return np.dtype(self.code_dtype).itemsize

    def codes(self, values: int) -> int:
        """How many packed codes so many values of an example take.

        Each example starts anew; the end of its last code is filled up.
        """
        return -(-values * self.bits // (8 * self.itemsize))

    # -- on tensors, in TensorFlow -----------------------------------------

    @abstractmethod
    def quantize(
        self, x: "tf.Tensor", rule: "Rule", shape: Sequence[int]
    ) -> "tuple[tf.Tensor, tf.Tensor | None]":
        """Packed codes and scales of a batch.

        Args:
            x: Values, float32, shape `(batch, values)`.
            rule: Says what shares a scale, and how to round.
            shape: Shape of one example, of so many values.

        Returns:
            Codes of dtype `code_dtype`, shape `(batch, codes(values))`, and
            scales, float32, shape `(rule.scale_rows(batch, shape), 2)`, or
            None without `has_scales`.
        """

    @abstractmethod
    def dequantize(
        self,
        codes: "tf.Tensor",
        scales: "tf.Tensor | None",
        rule: "Rule",
        shape: Sequence[int],
    ) -> "tf.Tensor":
        """The float32 values that codes stand for, ready to be reshaped."""

    def simulate(
        self, x: "tf.Tensor", rule: "Rule", shape: Sequence[int]
    ) -> "tf.Tensor":
        """`dequantize(*quantize(x))` bit for bit; faster where that goes."""
        return self.dequantize(*self.quantize(x, rule, shape), rule, shape)

    # -- on arrays, in NumPy -----------------------------------------------

    @abstractmethod
    def values(
        self,
        codes: Array,
        scales: Array | None,
        rule: "Rule",
        shape: Sequence[int],
    ) -> Array:
        """The values that codes stand for, float32, `(batch, values)`."""

    @abstractmethod
    def is_finite(self, codes: Array, scales: Array | None) -> bool:
        """Whether no NaN and no infinity would come out.

        It is asked of what the other party sent, which may be any codes and
        any scales.
        """

    @abstractmethod
    def squared_bound(
        self, codes: Array, scales: Array | None, values: int
    ) -> float:
        """A number that the sum of the squares of all values is not above.

        The nearer it is to that sum the more rarely the sum is computed; the
        cheaper it is the better.

        Args:
            codes: Finite codes.
            scales: Finite scales.
            values: How many values the whole tensor has.
        """

    @abstractmethod
    def scaled(
        self, codes: Array, scales: Array | None, factor: float
    ) -> tuple[Array, Array | None]:
        """Codes and scales of the same values times `factor`, below 1."""


class FloatFormat(Format):
    """Numbers that are codes of their own, without scales.

    A subclass gives a name, bits and a code dtype of so many bits, and two
    pairs of methods: `encode` and `decode` for tensors, `from_float` and
    `to_float` for arrays.
    """

    @abstractmethod
    def encode(self, x: "tf.Tensor") -> "tf.Tensor":
        """Codes of float32 values, of the same shape."""

    @abstractmethod
    def decode(self, codes: "tf.Tensor") -> "tf.Tensor":
        """The float32 values of codes."""

    @abstractmethod
    def from_float(self, values: Array) -> Array:
        """Codes of finite float32 values, which are no larger than codes go.

        It need not round as `encode` does: it is for gradients that are
        clipped, and had better round toward zero, within the limit.
        """

    @abstractmethod
    def to_float(self, codes: Array) -> Array:
        """The float32 values of codes, bit for bit those of `decode`."""

    def quantize(
        self, x: "tf.Tensor", rule: "Rule", shape: Sequence[int]
    ) -> "tuple[tf.Tensor, tf.Tensor | None]":
        """Each value's own code."""
        return self.encode(x), None

    def dequantize(
        self,
        codes: "tf.Tensor",
        scales: "tf.Tensor | None",
        rule: "Rule",
        shape: Sequence[int],
    ) -> "tf.Tensor":
        """Each code's own value."""
        return self.decode(codes)

    def values(
        self,
        codes: Array,
        scales: Array | None,
        rule: "Rule",
        shape: Sequence[int],
    ) -> Array:
        """Each code's own value."""
        return self.to_float(codes)

    def is_finite(self, codes: Array, scales: Array | None) -> bool:
        """Whether all values are finite."""
        return floats_are_finite(self.to_float(codes))

    def squared_bound(
        self, codes: Array, scales: Array | None, values: int
    ) -> float:
        """The sum itself."""
        floats = self.to_float(codes).astype(np.float32, copy=False).reshape(-1)
        with np.errstate(over="ignore"):
            return float(floats @ floats)

    def scaled(
        self, codes: Array, scales: Array | None, factor: float
    ) -> tuple[Array, Array | None]:
        """Each value times the factor, as a code again."""
        return self.from_float(self.to_float(codes) * np.float32(factor)), None


class ScaledFormat(Format):
    """Codes beside scales: `[scale, zero_point]` in each row.

    Values are proportional to their scale, so gradients are clipped by their
    scales alone. `keras_split.compression.scales` has what arranges a tensor
    in groups that share one.
    """

    has_scales = True

    @abstractmethod
    def largest(self, scales: Array) -> Array:
        """No value of any codes has a larger magnitude; one for each row.

        In the dtype of `scales`; infinite or NaN where that is too large.
        """

    def is_finite(self, codes: Array, scales: Array | None) -> bool:
        """Whether no scale allows of anything else, whatever the codes."""
        if scales is None:
            return False
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(self.largest(scales)).all())

    def squared_bound(
        self, codes: Array, scales: Array | None, values: int
    ) -> float:
        """As if every value were the largest that its scale allows."""
        assert scales is not None
        squares = self.largest(scales.astype(np.float64)) ** 2
        return float(squares.sum()) * values / max(len(squares), 1)

    def scaled(
        self, codes: Array, scales: Array | None, factor: float
    ) -> tuple[Array, Array | None]:
        """The same codes beside smaller scales."""
        assert scales is not None
        return codes, scales * np.array([factor, 1], np.float32)


def floats_are_finite(array: Array) -> bool:
    """Whether an array has no NaN and no infinity; integers have none."""
    if not np.issubdtype(array.dtype, np.floating):
        return True
    # One pass, no temporary: a sum is finite unless a term is not, or it
    # overflows, which the slow check then tells apart.
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum(dtype=np.float32)
    return bool(np.isfinite(total) or np.isfinite(array).all())


def spread_scales(
    scales: Array, rule: "Rule", shape: Sequence[int]
) -> tuple[Array, Array]:
    """Scale and zero point, to be broadcast beside `(batch, values)`."""
    scale, zero_point = scales[:, :1], scales[:, 1:]
    if rule.granularity != "channel":
        return scale, zero_point
    positions = math.prod(shape) // len(scales)
    return (
        np.tile(scale.T, (1, positions)),
        np.tile(zero_point.T, (1, positions)),
    )
