"""How good a model is, in all and for each class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_split.errors import DataError
from keras_split.utils.finite import or_none

_MOST = 10  # pairs of classes that are confused


@dataclass(frozen=True)
class Average:
    """Figures of several classes in one; see `Report`."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class.

    Attributes:
        name: Of the class.
        precision: Of the images that were taken for it, the share that is
            right; NaN if there are none.
        recall: Of its images, the share that was found; NaN if it has none.
        f1: Harmonic mean of the two; NaN if it has no images and none was
            taken for it.
        support: Its images.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, eq=False)
class Report:
    """What an evaluation found.

    Figures are those of scikit-learn's `classification_report` with
    `zero_division=0` in the averages.

    Attributes:
        confusion: Shape `(classes, classes)`: how often an image of the class
            of the row was taken for that of the column; None where the model
            tells no classes apart.
        class_names: In the order of the labels.
        metrics: `loss`, `accuracy` and what else there is.
        images: How many were looked at.

    Example:
    >>> report = Report(np.array([[3, 1], [0, 4]]), ("cat", "dog"))
    >>> [round(c.precision, 2) for c in report.classes]
    [1.0, 0.8]
    >>> report.confused
    [('cat', 'dog', 1)]
    """

    confusion: NDArray[np.int64] | None
    class_names: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    images: int = 0

    def __post_init__(self) -> None:
        if self.confusion is None:
            return
        classes = len(self.confusion)
        # A frozen dataclass sets what follows from the rest like this.
        object.__setattr__(self, "images", int(self.confusion.sum()))
        names = self.class_names or tuple(map(str, range(classes)))
        if len(names) != classes:
            raise DataError(
                f"Expected a name for each of {classes} classes. Received: "
                f"{len(names)}: {', '.join(names[:5])}. Give the names of all, "
                "in the order of the labels."
            )
        object.__setattr__(self, "class_names", tuple(names))

    @property
    def classes(self) -> list[ClassFigures]:
        """Figures of each class; empty without a confusion matrix."""
        if self.confusion is None:
            return []
        right = np.diagonal(self.confusion)
        support = self.confusion.sum(axis=1)
        taken = self.confusion.sum(axis=0)
        precision, recall, f1 = (
            _share(part, whole)
            for part, whole in (
                (right, taken),
                (right, support),
                (2 * right, taken + support),
            )
        )
        return [
            ClassFigures(name, float(p), float(r), float(f), int(s))
            for name, p, r, f, s in zip(
                self.class_names, precision, recall, f1, support, strict=True
            )
        ]

    @property
    def macro(self) -> Average:
        """The mean over classes that have images or were taken for one."""
        return self._average([not math.isnan(c.f1) for c in self.classes])

    @property
    def weighted(self) -> Average:
        """The mean over images: classes by how many they have."""
        return self._average([c.support for c in self.classes])

    @property
    def confused(self) -> list[tuple[str, str, int]]:
        """Classes that were taken for another: is, taken for, how often.

        Most often first, ten at most.
        """
        if self.confusion is None:
            return []
        wrong = self.confusion - np.diag(np.diagonal(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST]
        rows, columns = np.unravel_index(order, wrong.shape)
        return [
            (self.class_names[i], self.class_names[j], int(wrong[i, j]))
            for i, j in zip(rows, columns, strict=True)
            if wrong[i, j]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; None for what is not defined."""
        made: dict[str, Any] = {
            "images": self.images,
            "metrics": {n: or_none(v) for n, v in self.metrics.items()},
        }
        if self.confusion is None:
            return made
        return made | {
            "classes": [
                {name: or_none(value) for name, value in vars(figures).items()}
                for figures in self.classes
            ],
            "macro": vars(self.macro),
            "weighted": vars(self.weighted),
            "confusion": self.confusion.tolist(),
            "confused": [
                {"class": one, "taken_for": other, "images": images}
                for one, other, images in self.confused
            ],
        }

    def _average(self, weights: Sequence[float]) -> Average:
        rows = [[c.precision, c.recall, c.f1] for c in self.classes]
        if not sum(weights):
            return Average(0.0, 0.0, 0.0)
        figures = np.nan_to_num(np.array(rows))
        return Average(*map(float, np.average(figures, 0, weights)))


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    shares = np.full(len(part), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
