"""How many labels an attack found."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.audit.attack import Guess
from keras_split.errors import DataError

_Array = np.ndarray[Any, Any]
# Shuffles of a clustering that say what the best naming makes of nothing.
_SHUFFLES = 20


@dataclass(frozen=True)
class LabelScore:
    """How many labels an attack found.

    Attributes:
        accuracy: Part of the examples whose label is right, 0 to 1.
        balanced: Mean over the classes of the part of each; what counts where
            one class is rare.
        chance: What who sees nothing gets: the share of the largest class.
            For clusters what the best naming makes of the same clusters,
            shuffled, if that is more.
        examples: How many were counted, without those that were told.
        told: How many labels the attack was told.
        best_naming: Whether clusters were named as well as they can be, which
            an attacker who knows no label cannot check.
    """

    accuracy: float
    balanced: float
    chance: float
    examples: int
    told: int = 0
    best_naming: bool = False


def score_labels(
    guess: Guess, truth: _Array, told: Collection[int] = ()
) -> LabelScore | None:
    """How many labels an attack found.

    Args:
        guess: Its labels, or its clusters.
        truth: Class numbers, shape `(examples,)`.
        told: Places of the labels that it was told (`Leaked.labels`): these
            do not count.

    Returns:
        What it found; None if it guesses no labels.

    Raises:
        DataError: If guess and truth are not of the same examples, or nothing
            is left to count.
    """
    best_naming = guess.labels is None
    found = guess.clusters if guess.labels is None else guess.labels
    if found is None:
        return None
    truth = np.asarray(truth)
    if found.shape != truth.shape or truth.ndim != 1:
        raise DataError(
            f"Expected guesses of the {len(truth)} examples whose labels are "
            f"given. Received: {found.shape} guesses, {truth.shape} labels. "
            "Take both from the same steps."
        )
    counts = np.ones(len(truth), bool)
    counts[list(told)] = False
    found, truth = found[counts], truth[counts]
    if not len(truth):
        raise DataError(
            "Expected labels that the attack was not told. Received: it was "
            f"told all {len(counts)}. Keep more examples, or tell it less."
        )
    sizes = np.unique(truth, return_counts=True)[1]
    chance = float(sizes.max() / sizes.sum())
    if best_naming:
        rng = np.random.default_rng(0)
        shuffled = [rng.permutation(found) for _ in range(_SHUFFLES)]
        lucky = [np.mean(named(s, truth) == truth) for s in shuffled]
        chance = max(chance, float(np.mean(lucky)))
        found = named(found, truth)
    right = found == truth
    recalls = [right[truth == name].mean() for name in np.unique(truth)]
    return LabelScore(
        float(right.mean()),
        float(np.mean(recalls)),
        chance,
        len(truth),
        len(counts) - len(truth),
        best_naming,
    )


def named(clusters: _Array, truth: _Array) -> _Array:
    """Clusters with the names that fit best, each name given once.

    Args:
        clusters: Numbers, shape `(examples,)`.
        truth: Class numbers, shape `(examples,)`.

    Returns:
        Class numbers, shape `(examples,)`; one that does not occur where a
        cluster is left without a name.
    """
    from scipy.optimize import linear_sum_assignment  # not cheap, of an extra

    names, columns = np.unique(truth, return_inverse=True)
    numbers, places = np.unique(clusters, return_inverse=True)
    together = np.zeros((len(numbers), len(names)), int)
    np.add.at(together, (places, columns), 1)
    nameless = names.max() + 1
    given = np.full(len(numbers), nameless, names.dtype)
    of_cluster, of_name = linear_sum_assignment(together, maximize=True)
    given[of_cluster] = names[of_name]
    return given[places]
