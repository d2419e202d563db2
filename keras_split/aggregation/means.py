"""The mean of what several phones learned, and means that bear a liar.

A phone of weight 0 only listens: its vector is in no mean.
"""

import math
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.errors import OptionError

KINDS = ("mean", "median", "trimmed-mean")
_Vector = np.ndarray[Any, Any]
_BLOCK = 1 << 16  # numbers of all phones that are sorted at a time
_ALMOST = 1e-9  # a share of phones is seldom a number that floats have


@dataclass(frozen=True)
class Mean:
    """How vectors of several phones become one.

    Attributes:
        kind: One of `KINDS`.
        trim: Share of phones that a trimmed mean leaves out at either end.
        max_norm: Vectors with a larger norm are scaled down to it first; None
            for as they are.

    Raises:
        OptionError: If there is no such mean.
    """

    kind: str = "mean"
    trim: float = 0.1
    max_norm: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise OptionError(
                f"Expected one of the means {', '.join(KINDS)}. Received: "
                f"{self.kind!r}."
            )

    @property
    def plain(self) -> bool:
        """Whether it is the weighted mean of vectors as they are."""
        return self.kind == "mean" and self.max_norm is None

    def of(
        self, vectors: Sequence[_Vector], weights: Sequence[float]
    ) -> _Vector:
        """The mean of vectors.

        Args:
            vectors: One a phone, each of shape `(size,)`.
            weights: Examples of each; a median and a trimmed mean only ask
                whether there are any, for a liar would say many.

        Returns:
            Shape `(size,)`, dtype of the first; zeros if no vector counts.
            That of one vector is that vector, bit for bit.
        """
        counted = [
            (vector, weight)
            for vector, weight in zip(vectors, weights, strict=True)
            if weight > 0
        ]
        if not counted:
            return np.zeros_like(vectors[0])
        kept = [vector for vector, _ in counted]
        if self.max_norm is not None:
            kept = [clipped(vector, self.max_norm) for vector in kept]
        if len(kept) == 1:
            return kept[0].copy()
        if self.kind == "median":
            return median(kept)
        if self.kind == "trimmed-mean":
            return trimmed_mean(kept, self.trim)
        return weighted_mean(kept, [weight for _, weight in counted])


def weighted_mean(
    vectors: Sequence[_Vector], weights: Sequence[float]
) -> _Vector:
    """The mean, weighted by examples: federated averaging.

    McMahan et al., Communication-Efficient Learning of Deep Networks from
    Decentralized Data, AISTATS 2017, algorithm 1.

    Args:
        vectors: One a phone, each of shape `(size,)`.
        weights: Of each, above 0.

    Returns:
        Shape `(size,)`, dtype of the first. It is summed up in float64, in
        the order that is given.

    Example:
    >>> weighted_mean([np.array([0.0, 4.0]), np.array([1.0, 0.0])], [3, 1])
    array([0.25, 3.  ])
    """
    shares = np.asarray(weights, np.float64)
    shares = shares / shares.sum()
    total = np.zeros(vectors[0].shape, np.float64)
    for vector, share in zip(vectors, shares, strict=True):
        total += share * vector.astype(np.float64)
    return total.astype(vectors[0].dtype)


def median(vectors: Sequence[_Vector]) -> _Vector:
    """The median of each number; bears liars as long as they are fewer.

    Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates, ICML 2018, definition 1.

    Args:
        vectors: One a phone, each of shape `(size,)`.

    Returns:
        Shape `(size,)`, dtype of the first.

    Example:
    >>> median([np.array([1.0]), np.array([2.0]), np.array([-900.0])])
    array([1.])
    """
    made = np.empty_like(vectors[0])
    for at, block in _blocks(vectors):
        made[at] = np.median(block.astype(np.float64), axis=0)
    return made


def trimmed_mean(vectors: Sequence[_Vector], trim: float = 0.1) -> _Vector:
    """The mean of each number without the largest and the smallest.

    Yin et al. 2018, definition 2. It bears as many liars as are left out at
    one end, and keeps more of what honest phones say than the median.

    Args:
        vectors: One a phone, each of shape `(size,)`.
        trim: Share that is left out at either end, 0 to below 0.5; rounded up
            to whole phones, so that few of them are protected, too, as long
            as one is left.

    Returns:
        Shape `(size,)`, dtype of the first.

    Example:
    >>> trimmed_mean([np.array([x]) for x in (1.0, 2.0, 4.0, -900.0)], 0.25)
    array([1.5])
    """
    count = left_out(len(vectors), trim)
    made = np.empty_like(vectors[0])
    for at, block in _blocks(vectors):
        block.sort(axis=0)
        kept = block[count : len(vectors) - count]
        made[at] = kept.mean(axis=0, dtype=np.float64)
    return made


def left_out(phones: int, trim: float) -> int:
    """How many a trimmed mean leaves out at either end.

    Example:
    >>> left_out(10, 0.1), left_out(11, 0.1), left_out(2, 0.1)
    (1, 2, 0)
    """
    return min(math.ceil(trim * phones - _ALMOST), (phones - 1) // 2)


def clipped(vector: _Vector, max_norm: float) -> _Vector:
    """A vector whose Euclidean norm is at most `max_norm`.

    Sun et al., Can You Really Backdoor Federated Learning?, 2019, section 4.
    """
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if norm <= max_norm:
        return vector
    return (vector * np.float64(max_norm / norm)).astype(vector.dtype)


def _blocks(
    vectors: Sequence[_Vector],
) -> Iterator[tuple[slice, np.ndarray[Any, Any]]]:
    """Where and what: a few numbers of all vectors, shape `(phones, n)`."""
    columns = max(1, _BLOCK // len(vectors))
    for start in range(0, vectors[0].size, columns):
        at = slice(start, start + columns)
        yield at, np.stack([vector[at] for vector in vectors])
