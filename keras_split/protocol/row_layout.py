"""Tensors of a message row by row, as bytes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keras_split.compression.tensors import CutTensor
from keras_split.protocol.contract import Contract

_SCALE_BYTES = 8  # scale and zero point, float32


class RowLayout:
    """What lies where in a row of smashed data.

    Codes and scales of one tensor behind those of the other, and shared
    inputs behind them. A row is one example's where a rule permits it: float
    codes have no scales, and others one for each example. A scale for the
    tensor or for a channel is of the whole batch, and so is the row.

    Args:
        contract: Says what crosses.

    Attributes:
        by_example: Whether each example has a row.
    """

    def __init__(self, contract: Contract) -> None:
        rule = contract.quantization.activations
        self.by_example = not rule.has_scales or rule.granularity == "example"
        self._contract = contract

    def nbytes(self, examples: int) -> int:
        """Bytes of a row of so many examples."""
        rule = self._contract.quantization.activations
        smashed, shared = self._contract.smashed, self._contract.shared
        return sum(rule.nbytes(examples, spec.shape) for spec in smashed) + sum(
            examples * spec.bytes_per_example for spec in shared
        )

    def rows(self, tensors: Sequence[CutTensor]) -> list[bytes]:
        """The rows of tensors, which are what the contract says."""
        parts = [
            np.ascontiguousarray(part)
            for tensor in tensors
            for part in (tensor.codes, tensor.scales)
            if part is not None
        ]
        if not self.by_example:
            return [b"".join(part.tobytes() for part in parts)]
        batch = len(parts[0])
        table = np.concatenate(
            [part.reshape(batch, -1).view(np.uint8) for part in parts], axis=1
        )
        return [row.tobytes() for row in table]

    def some(
        self, tensors: list[CutTensor], numbers: Sequence[int]
    ) -> list[CutTensor]:
        """Tensors of some of the rows; none at all if there are none."""
        if not numbers:
            return []
        if not self.by_example or len(numbers) == tensors[0].shape[0]:
            return tensors
        chosen = list(numbers)
        return [
            replace(
                tensor,
                shape=(len(chosen), *tensor.shape[1:]),
                codes=tensor.codes[chosen],
                scales=None if tensor.scales is None else tensor.scales[chosen],
            )
            for tensor in tensors
        ]

    def tensors(self, rows: Sequence[bytes], batch: int) -> list[CutTensor]:
        """The inverse of `rows`.

        Args:
            rows: Each of `nbytes(1)` bytes, or one of `nbytes(batch)`.
            batch: Examples of all of them.
        """
        rule = self._contract.quantization.activations
        reader = _Reader(rows, batch)
        made = []
        for spec in self._contract.smashed:
            codes = reader.codes(
                rule.code_dtype, rule.codes_per_example(spec.shape)
            )
            scales = None
            if rule.has_scales:
                each = rule.scale_rows(reader.examples, spec.shape)
                scales = reader.part("<f4", each * _SCALE_BYTES).reshape(-1, 2)
            shape = (batch, *spec.shape)
            made.append(CutTensor(spec.name, shape, codes, scales))
        for shared in self._contract.shared:
            codes = reader.codes(shared.code_dtype, shared.codes_per_example)
            shape = (batch, *shared.shape)
            made.append(CutTensor(shared.name, shape, codes))
        return made


class _Reader:
    """Takes parts off rows, one behind the other.

    Attributes:
        examples: Of one row.
    """

    def __init__(self, rows: Sequence[bytes], batch: int) -> None:
        table = np.frombuffer(b"".join(rows), np.uint8)
        self.examples = batch // len(rows)
        self._table = table.reshape(len(rows), -1)
        self._batch = batch
        self._at = 0

    def codes(self, dtype: str, each: int) -> np.ndarray[Any, Any]:
        nbytes = self.examples * each * np.dtype(dtype).itemsize
        return self.part(dtype, nbytes).reshape(self._batch, each)

    def part(self, dtype: str, nbytes: int) -> np.ndarray[Any, Any]:
        piece = self._table[:, self._at : self._at + nbytes]
        self._at += nbytes
        return np.ascontiguousarray(piece).view(dtype)
