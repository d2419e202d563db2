"""Which numbers of head and tail the phones of a cohort average, in order.

A Keras client and a LiteRT-only device know the tensors of their halves by
other names. Both describe them here, and get the same vector.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.errors import OptionError

BATCHNORM = ("average", "local")
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class HalfTensor:
    """One tensor of a half.

    Attributes:
        part: `"head"` or `"tail"`; `"optimizer"` for what belongs to all.
        kind: `"weight"`, `"statistic"` or `"slot"`, as in client.json.
        shape: Its shape.
        variable: Path of its Keras variable: layer names and its own, with a
            slash between them.
    """

    part: str
    kind: str
    shape: tuple[int, ...]
    variable: str

    @property
    def layer(self) -> tuple[str, str]:
        """Which layer it belongs to."""
        return self.part, self.variable.rpartition("/")[0]


class HalfLayout:
    """The order of a half's numbers in one vector.

    First the head, then the tail: of each the weights that are trained, in
    the order of the model, and then the statistics of its batch
    normalization. What is frozen, integers and seeds are not in it. That is
    the order of the state in client.json, without the optimizer's slots.

    Names are not compared, for Keras numbers those that nobody gave; that
    both have the same network is the contract's affair.

    Args:
        tensors: Of the half, in this order.
        batchnorm: `"average"`, or `"local"` to leave out layers of batch
            normalization whole: weights and statistics.
        frozen: Hash of what is frozen, as in client.json.

    Attributes:
        kept: Positions of the tensors that are in the vector.
        size: Numbers in it.
        digest: SHA-256 of what they are, as hexadecimal digits.
        statistics: Whether some of them are statistics.

    Raises:
        OptionError: If there is no such `batchnorm`, or nothing is trained.
    """

    def __init__(
        self,
        tensors: Sequence[HalfTensor],
        batchnorm: str = "average",
        frozen: str = "",
    ) -> None:
        if batchnorm not in BATCHNORM:
            raise OptionError(
                f"Expected batchnorm to be one of {', '.join(BATCHNORM)}. "
                f"Received: {batchnorm!r}."
            )
        own = {t.layer for t in tensors if t.kind == "statistic"}
        if batchnorm == "average":
            own = set()
        self.kept = [i for i, t in enumerate(tensors) if t.layer not in own]
        kept = [tensors[i] for i in self.kept]
        self.statistics = any(tensor.kind == "statistic" for tensor in kept)
        self._shapes = [tensor.shape for tensor in kept]
        self._ends = np.cumsum([_count(shape) for shape in self._shapes])
        self.size = int(self._ends[-1]) if kept else 0
        if not any(t.kind == "weight" for t in kept):
            raise OptionError(
                "Expected weights in head or tail, for the phones to have in "
                "common. Received: none that are trained"
                + (" beside batch normalization" if own else "")
                + ". Thaw some, or train without averaging."
            )
        described = [[t.part, t.kind, list(t.shape)] for t in kept]
        text = json.dumps([described, batchnorm, frozen])
        self.digest = hashlib.sha256(text.encode()).hexdigest()

    def join(self, arrays: Sequence[_Array]) -> _Array:
        """One vector, shape `(size,)`, float32, of the tensors in `kept`."""
        flat = [np.asarray(array, np.float32).reshape(-1) for array in arrays]
        return np.concatenate(flat)

    def split(self, vector: _Array) -> list[_Array]:
        """The tensors in `kept`, float32, of a vector."""
        parts = np.split(vector, self._ends[:-1])
        return [
            part.reshape(shape)
            for part, shape in zip(parts, self._shapes, strict=True)
        ]


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
