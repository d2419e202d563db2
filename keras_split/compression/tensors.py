"""Cut-layer tensors: what is said of them before, and what crosses."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """Name and shape of one cut-layer tensor, without the batch axis."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CutTensor:
    """One cut-layer tensor on its way: packed codes and their scales.

    Attributes:
        name: Name of its `TensorSpec`.
        shape: Shape with the batch axis, before packing.
        codes: Packed codes, shape `(batch, codes)`; labels are as they are.
        scales: Shape `(rows, 2)`, float32; None for float codes and labels.
    """

    name: str
    shape: tuple[int, ...]
    codes: np.ndarray[Any, Any]
    scales: np.ndarray[Any, Any] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        scales = 0 if self.scales is None else self.scales.nbytes
        return int(self.codes.nbytes + scales)
