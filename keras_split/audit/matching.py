"""Labels by a tail whose gradients would be those that crossed."""

import time
from collections import deque
from collections.abc import Collection
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
from keras_split.audit.tail_fit import TailFit
from keras_split.audit.tail_fit import tells_classes
from keras_split.audit.turns import Turns
from keras_split.errors import DataError
from keras_split.utils import retracing

_Array = np.ndarray[Any, Any]
# What it remembers of the last steps, at most.
_BYTES = 128 << 20


class Matching(Attack):
    """Learns a tail whose gradients would be those that crossed.

    Kariyappa and Qureshi 2023, "ExPLoit: Extracting Private Labels in Split
    Learning" (SaTML; arXiv 2111.10635): a server that knows the features looks
    for a tail and labels whose loss has the gradients that were sent. There
    labels are variables beside the tail's weights; here they are summed over,
    see `TailFit`, which also learns how much noise there is.

    It begins four times: from the clusters of the features and from those of
    the gradients, each of all examples and of those with the longer half of
    the gradients. The likeliest tail of the four is kept.

    So noise that hides short gradients does not stop it. Those are of
    examples that the model is sure of: their features tell, once the longer
    gradients have told which features belong together.

    Args:
        iterations: Steps of each beginning, of 256 examples.
        memory: How many examples of the last steps it learns from, at most.
    """

    name = "matching of features gradients"
    paper = (
        "Kariyappa and Qureshi 2023, arXiv 2111.10635; labels are summed over"
    )

    def __init__(self, iterations: int = 600, memory: int = 2000) -> None:
        require_clusters()
        self.iterations = iterations
        self.memory = memory

    def begin(self, scene: Scene) -> None:
        """Forgets."""
        self._scene = scene
        self._clock = Clock()
        self._kept: deque[Seen] = deque()
        self._fit: TailFit | None = None

    def saw(self, seen: Seen) -> None:
        """Keeps the last steps."""
        # Without the smashed data, which is larger; len() counts features then.
        self._kept.append(replace(seen, smashed=seen.features, smashed_grad=[]))
        example = sum(2 * part.nbytes for part in seen.features) / len(seen)
        most = min(self.memory, _BYTES / example)
        while sum(map(len, self._kept)) - len(self._kept[0]) >= most:
            self._kept.popleft()

    def end(self, leaked: Leaked, seconds: float) -> None:
        """Learns the tail.

        Raises:
            DataError: If the phone's does not tell classes apart from
                features alone, or none can be learned.
        """
        with self._clock, retracing.expected():
            self._learn(seconds)

    def _learn(self, seconds: float) -> None:
        scene = self._scene
        tells_classes(scene.tail, len(scene.contract.features), scene.classes)
        features, sent = _joined(self._kept)
        best = -np.inf
        kept: list[_Array] | None = None
        begins = self._beginnings(sent)
        turns = Turns(seconds, len(begins))
        fit: TailFit | None = None
        for labels, places in begins:
            began, tail = time.perf_counter(), scene.new_tail()
            if fit is None:
                fit = TailFit(tail, features, sent, scene.classes)
            else:
                fit.begin_again(tail)
            self._clock.steps += fit.learn(
                labels,
                places,
                np.random.default_rng(scene.seed),
                self.iterations,
                turns.next(),
            )
            turns.took(time.perf_counter() - began)
            likelihood = fit.likelihood()
            if likelihood > best:  # which no NaN is
                best, kept = likelihood, fit.get_weights()
        if fit is None or kept is None:
            raise DataError(
                "Expected gradients that a tail can be learned from. Received: "
                "such that no likelihood is finite. Take Clustering."
            )
        fit.set_weights(kept)
        self._fit = fit

    def spent(self) -> Spent:
        """Of all beginnings."""
        return self._clock.spent

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """The likeliest label of each example, by a number of its own."""
        assert self._fit is not None
        with retracing.expected():
            joint = self._fit.joint(*_joined(seen))
        return Guess(clusters=joint.argmax(1))

    def _beginnings(self, sent: _Array) -> list[tuple[_Array, _Array]]:
        """Labels to begin with, and of which examples to take them."""
        classes, seed = self._scene.classes, self._scene.seed
        lengths = np.linalg.norm(sent.astype(float), axis=1)
        longer = np.flatnonzero(lengths >= np.median(lengths))
        features = clusters(unit(rows(self._kept, "features")), classes, seed)
        directions = unit(sent)
        gradients = clusters(directions, classes, seed)
        long_ones = np.zeros(len(sent), int)
        long_ones[longer] = clusters(directions[longer], classes, seed)
        everywhere = np.arange(len(sent))
        return [
            (features, longer),
            (long_ones, longer),
            (features, everywhere),
            (gradients, everywhere),
        ]


def _joined(seen: Collection[Seen]) -> tuple[list[_Array], _Array]:
    """Features, by tensor, and gradients of some steps."""
    parts = zip(*(step.features for step in seen), strict=True)
    return [np.concatenate(part) for part in parts], rows(seen, "features_grad")
