"""Which of two labels, by whether a gradient points along with a known one."""

from collections.abc import Sequence

import numpy as np

from keras_split.audit.attack import Attack
from keras_split.audit.attack import Guess
from keras_split.audit.nearest_mean import check_count
from keras_split.audit.nearest_mean import means_of
from keras_split.audit.rows import rows
from keras_split.audit.rows import unit
from keras_split.audit.scene import Leaked
from keras_split.audit.scene import Scene
from keras_split.audit.seen import Seen
from keras_split.audit.told import check_told
from keras_split.errors import DataError
from keras_split.errors import OptionError


class Direction(Attack):
    """Tells one of two labels, knowing examples of that one alone.

    Li et al. 2022, "Label Leakage and Protection in Two-party Split Learning"
    (ICLR; arXiv 2102.08504), section 3.2: `r_d(g) = cos(g, g+)` for a known
    positive example. Two gradients of one label have a cosine above 0, of two
    labels one below, as `p - 1 < 0 < p`. Among more than two labels it is
    `NearestMean`.

    Args:
        positive: The label whose examples are known.
        labels_per_class: How many of them.

    Raises:
        OptionError: If one of them is none of that.
    """

    paper = "Li et al. 2022, arXiv 2102.08504, section 3.2"
    knows = frozenset({"labels"})

    def __init__(self, positive: int = 1, labels_per_class: int = 1) -> None:
        if positive not in (0, 1):
            raise OptionError(
                "Expected positive to be 0 or 1, one of two labels. Received: "
                f"positive={positive!r}. Take that of the rarer class."
            )
        self.positive = positive
        self.labels_per_class = check_count(labels_per_class)
        self.name = "direction of features gradients, positives known"

    def begin(self, scene: Scene) -> None:
        """Looks whether there are two classes.

        Raises:
            DataError: If not.
        """
        if scene.classes != 2:
            raise DataError(
                f"Expected two classes. Received: {scene.classes}. Take "
                "NearestMean, which is the same for any number of them."
            )

    def end(self, leaked: Leaked, seconds: float) -> None:
        """Learns the known labels; keeps the positive ones."""
        self._labels = {
            place: label
            for place, label in leaked.labels.items()
            if label == self.positive
        }

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """The label of each example."""
        values = unit(rows(seen, "features_grad"))
        check_told(self._labels, len(values))
        _, means = means_of(values, self._labels)
        alike = values @ means[0] > 0
        return Guess(labels=np.where(alike, self.positive, 1 - self.positive))
