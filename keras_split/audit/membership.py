"""Membership: was an example trained on, by how sure a tail is of it?"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keras_split.audit.attack import Attack
from keras_split.audit.attack import Guess
from keras_split.audit.attack import Spent
from keras_split.audit.clock import Clock
from keras_split.audit.clustering import clusters
from keras_split.audit.clustering import require_clusters
from keras_split.audit.rows import rows
from keras_split.audit.rows import unit
from keras_split.audit.scene import Leaked
from keras_split.audit.scene import Scene
from keras_split.audit.seen import Seen
from keras_split.errors import DataError

_Array = np.ndarray[Any, Any]
_ITERATIONS = 300  # of a linear model, which has long settled by then


class Membership(Attack):
    """Takes an example for one of the training where a tail is sure of it.

    A phone sends an example to be classified, and the server would like to
    know whether it was trained on. It has neither loss nor label, nor the
    tail: it fits a linear one to the features of the last steps, with the
    clusters of their gradients for labels (see `Clustering`), and says the
    largest probability of that tail.

    It shows next to nothing where a network generalizes, so
    `keras_split.audit.standard` leaves it out.

    Args:
        memory: How many examples of the last steps it learns from, at most.

    Raises:
        BackendError: If scikit-learn is not installed.
    """

    name = "membership by confidence"
    paper = (
        "Salem et al., ML-Leaks: Model and Data Independent Membership "
        "Inference Attacks and Defenses on Machine Learning Models, NDSS 2019, "
        "arXiv 1806.01246, adversary 3, with a tail of its own"
    )

    def __init__(self, memory: int = 4000) -> None:
        require_clusters()
        self.memory = memory

    def begin(self, scene: Scene) -> None:
        """Forgets."""
        self._classes, self._seed = scene.classes, scene.seed
        self._clock = Clock()
        self._kept: deque[Seen] = deque()
        self._tail: Any = None

    def saw(self, seen: Seen) -> None:
        """Keeps the last steps."""
        # Without what it does not read; len() counts features then.
        self._kept.append(replace(seen, smashed=seen.features, smashed_grad=[]))
        while sum(map(len, self._kept)) - len(self._kept[0]) >= self.memory:
            self._kept.popleft()

    def end(self, leaked: Leaked, seconds: float) -> None:
        """Fits the tail.

        Raises:
            DataError: If gradients of one class alone crossed.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        with self._clock:
            sent = unit(rows(self._kept, "features_grad"))
            labels = clusters(sent, self._classes, self._seed)
            if len(np.unique(labels)) < 2:
                raise DataError(
                    "Expected gradients of several classes, to learn a tail "
                    "from. Received: gradients that are all alike. Train on "
                    "more classes."
                )
            self._tail = make_pipeline(
                StandardScaler(), LogisticRegression(max_iter=_ITERATIONS)
            )
            self._tail.fit(rows(self._kept, "features"), labels)
            self._clock.steps += 1

    def spent(self) -> Spent:
        """Of the fit."""
        return self._clock.spent

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """How sure it is that each example was trained on, 0 to 1."""
        made: _Array = self._tail.predict_proba(rows(seen, "features"))
        return Guess(members=made.max(1))


def member_auc(sure: _Array, members: _Array) -> float:
    """How well guesses tell members from others: 0.5 is chance, 1 is all.

    The area under the ROC curve: the chance that a member is given more than
    one that is none.

    Args:
        sure: `Guess.members`, shape `(examples,)`.
        members: Which were trained on, shape `(examples,)`, bool.

    Raises:
        DataError: If there are no members, or no others.
    """
    from sklearn.metrics import roc_auc_score

    members = np.asarray(members, bool)
    if members.all() or not members.any():
        raise DataError(
            "Expected members and others, to tell them apart. Received: "
            f"{int(members.sum())} members of {len(members)} examples. Guess "
            "examples of both kinds."
        )
    return float(roc_auc_score(members, sure))
