"""What a cut costs on machines that were measured, before it is made."""

from collections.abc import Mapping
from typing import Any

from keras_split.planner.candidates import Candidate
from keras_split.planner.candidates import Candidates
from keras_split.planner.link import Link
from keras_split.planner.plan import Plan
from keras_split.planner.profile import PHASES
from keras_split.planner.profile import Profile
from keras_split.planner.work import Amount
from keras_split.planner.work import Work
from keras_split.planner.work import commit
from keras_split.planner.work import crossing
from keras_split.planner.work import work_of

__all__ = [
    "PHASES",
    "Amount",
    "Candidate",
    "Candidates",
    "Link",
    "Plan",
    "Profile",
    "Work",
    "candidates_of",
    "commit",
    "crossing",
    "work_of",
]


def candidates_of(model: Any, named: Mapping[str, Any] | None = None) -> Any:
    """The cuts of a Keras model that are worth a thought.

    See `keras_split.planner.search.candidates_of`, which loads TensorFlow.
    """
    from keras_split.planner import search

    return search.candidates_of(model, named)
