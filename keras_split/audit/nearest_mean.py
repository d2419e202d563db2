"""Labels by what is most like the few whose labels are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_split.audit.attack import Attack
from keras_split.audit.attack import Guess
from keras_split.audit.rows import WORDS
from keras_split.audit.rows import check_of
from keras_split.audit.rows import rows
from keras_split.audit.rows import unit
from keras_split.audit.scene import Leaked
from keras_split.audit.seen import Seen
from keras_split.audit.told import check_told
from keras_split.errors import OptionError
from keras_split.utils.counted import counted

_Array = np.ndarray[Any, Any]


class NearestMean(Attack):
    """Gives each example the label whose known examples it points along with.

    Liu and Lyu 2022, "Similarity-based Label Inference Attack against Training
    and Inference of Split Learning" (arXiv 2203.05222): the label of the
    known example of the largest cosine, `cos(g, g_known)`. Several known
    examples of a class are taken together: the mean of their directions.

    Args:
        of: What is read: `"features_grad"`, `"features"` or `"smashed"`.
        labels_per_class: How many examples of each class are known.

    Raises:
        OptionError: If one of them is none of that.
    """

    paper = "Liu and Lyu 2022, arXiv 2203.05222"
    knows = frozenset({"labels"})

    def __init__(
        self, of: str = "features_grad", labels_per_class: int = 1
    ) -> None:
        self.of = check_of(of)
        self.labels_per_class = check_count(labels_per_class)
        self.name = (
            f"nearest mean of {WORDS[of]}, "
            f"{counted(labels_per_class, 'known label')} a class"
        )

    def end(self, leaked: Leaked, seconds: float) -> None:
        """Learns the known labels."""
        self._labels = leaked.labels

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """The label of each example."""
        values = unit(rows(seen, self.of))
        check_told(self._labels, len(values))
        names, means = means_of(values, self._labels)
        return Guess(labels=names[(values @ unit(means).T).argmax(1)])


def means_of(values: _Array, labels: dict[int, int]) -> tuple[_Array, _Array]:
    """The mean of the known rows of each label.

    Args:
        values: Shape `(examples, numbers)`.
        labels: Those that are known, by place.

    Returns:
        The labels that occur, shape `(names,)`, and means, shape
        `(names, numbers)`.
    """
    places = np.array(list(labels), int)
    known = np.array(list(labels.values()))
    names = np.unique(known)
    means = [values[places[known == name]].mean(0) for name in names]
    return names, np.stack(means)


def check_count(labels_per_class: int) -> int:
    """`labels_per_class`, if it is a positive whole number.

    Raises:
        OptionError: If not.
    """
    if not isinstance(labels_per_class, int) or labels_per_class < 1:
        raise OptionError(
            "Expected labels_per_class to be a whole number from 1. Received: "
            f"labels_per_class={labels_per_class!r}. To look for labels "
            "without one, take Clustering."
        )
    return labels_per_class
