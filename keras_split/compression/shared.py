"""Inputs of a model that go to the server as they are, because a user said so.

They cross beside the smashed data, without loss and without a gradient. This
module says what is known of them before; `shared_codec` beside it packs them.
"""

import math
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.errors import DataError
from keras_split.errors import OptionError

BITS = "bits"
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "int64")
_FLOATS = ("float16", "float32")
Share = Sequence[str] | Mapping[str, str]


@dataclass(frozen=True)
class SharedSpec:
    """An input of the model that the server gets.

    Attributes:
        name: Of the input.
        shape: Of one example.
        dtype: Of the input: what layers of the body are given.
        packing: How it travels: `"bits"` for zeros and ones, eight in a byte
            and each example from a byte of its own; or the dtype of its
            numbers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    packing: str

    @property
    def code_dtype(self) -> str:
        """NumPy dtype of what crosses."""
        return "uint8" if self.packing == BITS else self.packing

    @property
    def codes_per_example(self) -> int:
        """How many numbers of that dtype cross for one example."""
        elements = math.prod(self.shape)
        return -(-elements // 8) if self.packing == BITS else elements

    @property
    def bytes_per_example(self) -> int:
        """Bytes that cross for one example."""
        return self.codes_per_example * np.dtype(self.code_dtype).itemsize

    @property
    def range(self) -> tuple[int, int] | None:
        """The least and the largest number that fit; None if all do."""
        if self.packing == self.dtype or self.dtype == "bool":
            return None
        if self.packing == BITS:
            return 0, 1
        limits = np.iinfo(self.packing)
        return int(limits.min), int(limits.max)

    def refusal(self, value: int | None = None) -> DataError:
        """The error of a batch with a number that does not fit.

        Args:
            value: It, if it is known.
        """
        what = "zeros and ones"
        if self.packing != BITS and self.range is not None:
            what = f"numbers from {self.range[0]} to {self.range[1]}"
        found = "another number" if value is None else str(value)
        return DataError(
            f"Expected {what} in the input {self.name!r}, which is shared as "
            f"{self.packing}. Received: {found} in a batch. Look at the data, "
            f"or cut with share={{{self.name!r}: {self.dtype!r}}}."
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SharedSpec":
        """From the fields as JSON has them."""
        return cls(**config | {"shape": tuple(config["shape"])})


def packings(share: Share) -> dict[str, str]:
    """What was said of each shared input: its packing, or nothing.

    Args:
        share: Names of inputs, or their packings by name.

    Raises:
        OptionError: If it is neither.

    Example:
    >>> packings(["padding_mask"])
    {'padding_mask': ''}
    """
    names = list(share) if isinstance(share, (Mapping, Sequence)) else [None]
    if isinstance(share, str) or not all(isinstance(n, str) for n in names):
        raise OptionError(
            "Expected share as names of inputs of the model, or as a packing "
            f"for each name. Received: share={share!r}. Pass "
            "share=['padding_mask']."
        )
    if isinstance(share, Mapping):
        return dict(share)
    return dict.fromkeys(names, "")


def packing_of(name: str, dtype: str, asked: str = "") -> str:
    """How an input travels; always without loss.

    Booleans are bits, and so are integers in an input whose name ends in
    `mask`, which are checked to be zeros and ones. Others travel in the dtype
    that they have.

    Args:
        name: Of the input.
        dtype: Of the input.
        asked: What the user wants instead; empty for nothing.

    Raises:
        OptionError: If there is no such packing for that dtype.

    Example:
    >>> packing_of("padding_mask", "int32"), packing_of("ids", "int32")
    ('bits', 'int32')
    """
    whole = dtype in _INTEGERS
    allowed = (
        (BITS,)
        if dtype == "bool"
        else (BITS, *_INTEGERS)
        if whole
        else (dtype,)
        if dtype in _FLOATS
        else ()
    )
    if not allowed:
        raise OptionError(
            "Expected an input of booleans, integers, float16 or float32 to "
            f"share. Received: {name!r} of {dtype}. Cast it in the model, "
            "behind an input of such a dtype."
        )
    natural = BITS if dtype == "bool" else dtype
    if whole and name.endswith("mask"):
        natural = BITS
    if asked and asked not in allowed:
        raise OptionError(
            f"Expected a packing of {name!r}, which is {dtype}: "
            f"{', '.join(allowed)}. Received: {asked!r}. Choose one of those."
        )
    return asked or natural
