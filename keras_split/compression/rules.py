"""How cut-layer tensors lose precision: the rules, without TensorFlow.

`quantize` beside it applies a rule to a tensor; this module only says what a
rule is and how many bytes it costs, so that the zoo, the command line and
the phone can read it where TensorFlow is not installed.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from functools import cached_property
from typing import Any

from keras_split.compression import formats
from keras_split.compression.formats import Format
from keras_split.errors import QuantizationError

GRANULARITIES = ("tensor", "example", "channel")
ROUNDINGS = ("nearest", "stochastic")
BLOCKS = tuple(2**n for n in range(9))


@dataclass(frozen=True)
class Rule:
    """How one kind of tensor is quantized.

    Attributes:
        dtype: `"float32"`, `"float16"`, `"bfloat16"`, `"float8_e4m3"`,
            `"int8"`, `"int4"`, `"int2"`, or the name of another registered
            format, see `keras_split.formats`.
        granularity: What shares a scale: the whole `"tensor"`, each
            `"example"` of the batch, or each `"channel"` (last axis). Ignored
            by formats without scales.
        rounding: `"nearest"` (ties to even) or `"stochastic"`. Ignored by
            the floats.
        block: Of each block of so many neighbors, the one of largest
            magnitude crosses and the others are zero: top-k sparsification
            in blocks. 1 for all of them, or a power of 2 up to 256.
        known: Whether the receiver knows which of each block it is, so that
            no positions cross: gradients of a tensor that crossed in blocks.
    """

    dtype: str = "int8"
    granularity: str = "example"
    rounding: str = "nearest"
    block: int = 1
    known: bool = False

    def __post_init__(self) -> None:
        formats.get(self.dtype)
        for name, allowed in (
            ("granularity", GRANULARITIES),
            ("rounding", ROUNDINGS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise QuantizationError(
                    f"Expected {name} to be one of {', '.join(allowed)}. "
                    f"Received: {name}={value!r}. Choose one of those."
                )
        if not isinstance(self.block, int) or self.block not in BLOCKS:
            raise QuantizationError(
                f"Expected block to be one of {', '.join(map(str, BLOCKS))}. "
                f"Received: block={self.block!r}. Choose one of those."
            )
        # Positions are bytes, in front of the codes of the values.
        with_positions = self.known or self.code_dtype == "uint8"
        if self.block > 1 and not (
            with_positions and self.granularity != "channel"
        ):
            bytewise = [
                name
                for name in formats.names()
                if formats.get(name).code_dtype == "uint8"
            ]
            raise QuantizationError(
                f"Expected one of {', '.join(bytewise)} with a scale per "
                f"example or tensor, for block={self.block}. Received: "
                f"{self.dtype} with one per {self.granularity}. Leave "
                "block=1, or choose those."
            )

    # Every message asks for these, and a rule does not change.

    @cached_property
    def format(self) -> Format:
        """The format of `dtype`, which knows all that depends on it."""
        return formats.get(self.dtype)

    @property
    def bits(self) -> int:
        """Width of one code in bits."""
        return self.format.bits

    @cached_property
    def has_scales(self) -> bool:
        """Whether scales cross beside the codes."""
        return self.format.has_scales

    @cached_property
    def code_dtype(self) -> str:
        """NumPy dtype of the packed codes."""
        return self.format.code_dtype

    @cached_property
    def position_bits(self) -> int:
        """Bits that say which of a block crosses; 0 if none are sent."""
        return 0 if self.known else self.block.bit_length() - 1

    def values_per_example(self, shape: Sequence[int]) -> int:
        """Number of values that cross for one example of `shape`."""
        return -(-math.prod(shape) // self.block)

    def position_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of packed positions for one example of `shape`."""
        values = self.values_per_example(shape)
        return sum(-(-values * w // 8) for w in widths(self.position_bits))

    def codes_per_example(self, shape: Sequence[int]) -> int:
        """Number of packed codes for one example of `shape` (no batch axis).

        Positions come first, if any are sent.
        """
        codes = self.format.codes(self.values_per_example(shape))
        return self.position_bytes(shape) + codes

    def scale_rows(self, batch: int, shape: Sequence[int]) -> int:
        """Number of rows of the scales, `(rows, 2)`; 0 for floats without."""
        if not self.has_scales:
            return 0
        if self.granularity == "tensor":
            return 1
        if self.granularity == "example":
            return batch
        return shape[-1] if shape else 1

    def nbytes(self, batch: int, shape: Sequence[int]) -> int:
        """Bytes of codes and scales of a tensor `(batch, *shape)`."""
        codes = batch * self.codes_per_example(shape) * self.format.itemsize
        return codes + 8 * self.scale_rows(batch, shape)


def widths(bits: int) -> list[int]:
    """The powers of 2 that `bits` is the sum of, largest first.

    Codes whose width does not divide a byte are packed in so many parts.

    Example:
    >>> widths(5)
    [4, 1]
    """
    return [1 << n for n in reversed(range(8)) if bits >> n & 1]


@dataclass(frozen=True, init=False)
class Quantization:
    """The rules of one run: one for activations, one for gradients.

    `Quantization("int8")` picks the pair that was measured to learn as
    float32 does. A rule may also be given by hand.

    Args:
        activations: A dtype name or a `Rule` for smashed data and features.
        gradients: A dtype name or a `Rule` for cut-layer gradients; by
            default the pair that belongs to `activations`.
        granularity: Granularity of rules that are given by name.
        rounding: Rounding of rules that are given by name.
        block: Of each block of so many neighbors only the activation of
            largest magnitude crosses, and the gradient of that one comes
            back: what both halves compute with is zero elsewhere, so the
            others have none. By default the block of `activations`.

    Raises:
        QuantizationError: If a name is unknown, or rules do not go together.

    Example:
    >>> Quantization("int8").activations.bits
    8
    >>> Quantization("int4", gradients="float16").gradients.dtype
    'float16'
    >>> Quantization("int4", block=4)
    Quantization('int4', block=4)
    """

    activations: Rule
    gradients: Rule

    def __init__(
        self,
        activations: str | Rule = "int8",
        gradients: str | Rule | None = None,
        *,
        granularity: str | None = None,
        rounding: str | None = None,
        block: int | None = None,
    ) -> None:
        if gradients is None:
            gradients = (
                activations.dtype
                if isinstance(activations, Rule)
                else activations
            )
        for name, given in (
            ("activations", activations),
            ("gradients", gradients),
        ):
            if isinstance(given, str):
                given = Rule(
                    given,
                    granularity or DEFAULT_GRANULARITY,
                    rounding or DEFAULT_ROUNDING[name],
                )
            if not isinstance(given, Rule):
                raise QuantizationError(
                    f"Expected {name} to be a dtype name or a Rule. "
                    f"Received: {given!r}. Give one of {_names()}."
                )
            block = given.block if block is None else block
            known = name == "gradients" and block != 1
            given = replace(given, block=block, known=known)
            object.__setattr__(self, name, given)

    @property
    def is_identity(self) -> bool:
        """Whether float32 tensors cross as they are."""
        return self == Quantization("float32")

    def get_config(self) -> dict[str, Any]:
        """A dictionary of plain values, for `from_config`."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Quantization":
        """The inverse of `get_config`."""
        try:
            return cls(
                Rule(**config["activations"]), Rule(**config["gradients"])
            )
        except (KeyError, TypeError) as error:
            raise QuantizationError(
                "Expected the config of a Quantization (activations and "
                f"gradients). Received: {config!r}. Take what get_config "
                "returns."
            ) from error

    def __repr__(self) -> str:
        first, second = self.activations, self.gradients
        texts = [_told(first)]
        if _told(second) != _told(first):
            texts.append(f"gradients={_told(second)}")
        if first.block != 1:
            texts.append(f"block={first.block}")
        return f"Quantization({', '.join(texts)})"

    def __str__(self) -> str:
        name, gradients = self.activations.dtype, self.gradients.dtype
        name += f"/{gradients}" if gradients != name else ""
        block = self.activations.block
        return name if block == 1 else f"{name}, 1 of {block}"


DEFAULT_GRANULARITY = "example"
DEFAULT_ROUNDING = {"activations": "nearest", "gradients": "nearest"}


def get(identifier: "str | Quantization | dict[str, Any]") -> Quantization:
    """A `Quantization` from a name, a config or itself.

    Raises:
        QuantizationError: If there is none of that name.
    """
    if isinstance(identifier, Quantization):
        return identifier
    if isinstance(identifier, str):
        return Quantization(identifier)
    if isinstance(identifier, dict):
        return Quantization.from_config(identifier)
    raise QuantizationError(
        "Expected a quantization such as 'int8', a Quantization or its "
        f"config. Received: {identifier!r}. Give one of {_names()}."
    )


def _told(rule: Rule) -> str:
    """A rule as one writes it: its dtype, if the rest is the usual."""
    how = (rule.granularity, rule.rounding)
    usual = how == (Rule.granularity, Rule.rounding)
    return repr(rule.dtype if usual else replace(rule, known=False, block=1))


def _names() -> str:
    return ", ".join(formats.names())
