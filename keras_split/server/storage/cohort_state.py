"""What is left of a cohort when its server is gone."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np

_Array = np.ndarray[Any, Any]
_ARRAY = "array"  # stands for one, with its number


@dataclass(frozen=True, eq=False)
class CohortState:
    """What outlives the server of a cohort.

    Attributes:
        mode: How its phones train.
        members: Who they are, and the cohort's name; as `Members.state`.
        terms: Config of its `AveragingTerms`; None before the first phone.
        size: Numbers in the vector of a half.
        layout: SHA-256 of what they are.
        version: Of the half; -1 if there is none.
        half: Shape `(size,)`, float32; None if there is none.
        progress: Of its mode: plain values, lists, dicts by string, arrays.
        given_by: Number of the member whose half all began with.
    """

    mode: str
    members: Mapping[str, Any]
    terms: Mapping[str, Any] | None = None
    size: int = 0
    layout: str = ""
    version: int = -1
    half: _Array | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    given_by: int = -1


def to_arrays(state: CohortState, arrays: dict[str, _Array]) -> Any:
    """The state as plain values; its arrays are put among others."""
    return _plain(dict(vars(state)), arrays)


def from_arrays(values: Any, arrays: Mapping[str, _Array]) -> CohortState:
    """The state that plain values and arrays hold."""
    known = _whole(values, arrays)
    names = CohortState.__dataclass_fields__
    return CohortState(**{k: v for k, v in known.items() if k in names})


def _plain(value: Any, arrays: dict[str, _Array]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"cohort_{len(arrays)}"
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, Mapping):
        return {key: _plain(each, arrays) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, arrays) for each in value]
    return value


def _whole(value: Any, arrays: Mapping[str, _Array]) -> Any:
    if isinstance(value, dict):
        if list(value) == [_ARRAY]:
            return arrays[value[_ARRAY]]
        return {key: _whole(each, arrays) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each, arrays) for each in value]
    return value
