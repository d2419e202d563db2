"""The mean of models, variable by variable."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_split.aggregation.means import Mean

_Array = np.ndarray[Any, Any]
_Arrays = list[_Array]


def mean_of_variables(
    before: _Arrays, values: Sequence[_Arrays], weights: list[float], mean: Mean
) -> _Arrays:
    """The mean of bodies, variable by variable.

    Args:
        before: As they were when the round began. Integers stay so.
        values: Of each.
        weights: Of each.
        mean: Which it is. The norm that it may bound is of the change of all
            variables together.
    """
    floats = [i for i, array in enumerate(before) if is_averaged(array)]
    if mean.max_norm is not None:
        most = mean.max_norm
        values = [_clipped(before, each, floats, most) for each in values]
    unbound = Mean(mean.kind, mean.trim)
    made = list(before)
    for i in floats:
        arrays = [each[i] for each in values]
        first = arrays[0]
        if all(np.array_equal(first, other) for other in arrays):
            made[i] = first  # infinities of a mask, too, which have no mean
        else:
            flat = [array.reshape(-1) for array in arrays]
            made[i] = unbound.of(flat, weights).reshape(first.shape)
    return made


def is_averaged(array: _Array) -> bool:
    """Whether a variable has a mean; counters and states of seeds do not."""
    # Not of kind "f" is bfloat16, which NumPy knows from ml_dtypes.
    return array.dtype.kind == "f" or str(array.dtype) == "bfloat16"


def _clipped(
    before: _Arrays, after: _Arrays, floats: Sequence[int], max_norm: float
) -> _Arrays:
    moved = [
        (i, after[i].astype(np.float64) - before[i])
        for i in floats
        if not np.array_equal(after[i], before[i])
    ]
    squares = sum(float(np.vdot(change, change)) for _, change in moved)
    norm = np.sqrt(squares)
    if norm <= max_norm:
        return after
    made = list(after)
    for i, change in moved:
        change *= max_norm / norm
        made[i] = (before[i] + change).astype(after[i].dtype)
    return made
