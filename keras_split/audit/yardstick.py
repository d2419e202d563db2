"""How good a guess is, and how good one is that needs no attack."""

from collections.abc import Collection
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.audit.attack import Guess
from keras_split.audit.finding import INPUTS
from keras_split.audit.finding import LABELS
from keras_split.audit.images import baselines
from keras_split.audit.images import bounds_of
from keras_split.audit.images import likeness
from keras_split.audit.labels import score_labels
from keras_split.audit.scene import Examples

_Array = np.ndarray[Any, Any]
Measures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Yardstick:
    """How good a guess is, and how good one is that needs no attack.

    Attributes:
        truth: What is to be guessed.
        public: What everybody has.
        classifier: Labels that a classifier gives to `truth`, trained on the
            public data; None without one.
    """

    truth: Examples
    public: Examples
    classifier: _Array | None = None

    def measure(
        self, guess: Guess, told: Collection[int] = ()
    ) -> dict[str, tuple[Measures, dict[str, Measures]]]:
        """Measures of a guess and of what needs no attack, by what it is of.

        Args:
            guess: It.
            told: Places of the labels that it was told, which do not count.
        """
        found: dict[str, tuple[Measures, dict[str, Measures]]] = {}
        if guess.inputs is not None:
            truth, bounds = self.truth.x, bounds_of(self.public.x)
            found[INPUTS] = (
                _numbers(likeness(truth, guess.inputs, bounds)),
                {
                    name: _numbers(likeness(truth, plain, bounds))
                    for name, plain in baselines(
                        self.public, self.truth
                    ).items()
                },
            )
        score = score_labels(guess, self.truth.y, told)
        if score is not None:
            plain = {"chance": {"accuracy": score.chance}}
            if self.classifier is not None:
                right = float(np.mean(self.classifier == self.truth.y))
                plain["classifier of public data"] = {"accuracy": right}
            measures = {
                "accuracy": score.accuracy,
                "balanced": score.balanced,
            }
            found[LABELS] = measures, plain
        return found


def _numbers(measured: Any) -> Measures:
    return {
        name: round(float(value), 5)
        for name, value in asdict(measured).items()
        if value is not None
    }
