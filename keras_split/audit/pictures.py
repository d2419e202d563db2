"""A few examples, and what attacks make of them, to look at."""

from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np

from keras_split.audit.scene import Examples

_Array = np.ndarray[Any, Any]
_SHOWN, _AMONG = 10, 16


@dataclass(frozen=True, eq=False)
class Row:
    """What an attack made of them.

    Attributes:
        trial: In which training.
        attack: Its name.
        images: Shape `(examples, height, width, channels)`, uint8.
    """

    trial: str
    attack: str
    images: _Array


@dataclass(frozen=True, eq=False)
class Pictures:
    """A few examples, and what attacks make of them, to look at.

    Attributes:
        places: Which examples they are.
        originals: Shape `(examples, height, width, channels)`, uint8.
        rows: What attacks made of them.
        low: What is shown as black, of each channel.
        high: What is shown as white.
    """

    places: _Array
    originals: _Array
    low: _Array
    high: _Array
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, truth: Examples, public: Examples) -> "Pictures | None":
        """One of each class, as far as there are; None if they are no images.

        Args:
            truth: The phone's examples.
            public: Say how dark and how bright values are.
        """
        shape = truth.x.shape
        if len(shape) != 4 or shape[3] not in (1, 3) or min(shape[1:3]) < 3:
            return None
        y = truth.y[:_AMONG]
        firsts = np.unique(y, return_index=True)[1]
        others = np.setdiff1d(np.arange(len(y)), firsts)
        places = np.concatenate([firsts, others])[:_SHOWN]
        low, high = (f(public.x, axis=(0, 1, 2)) for f in (np.min, np.max))
        high = np.where(high > low, high, low + 1)
        made = cls(places, np.zeros(0), low, high)
        return cls(places, made._shown(truth.x), low, high)

    def add(self, trial: str, attack: str, guess: _Array) -> None:
        """Takes the reconstructions of an attack."""
        if self.places.max() < len(guess):
            self.rows.append(Row(trial, attack, self._shown(guess)))

    def _shown(self, x: _Array) -> _Array:
        scaled = (x[self.places] - self.low) / (self.high - self.low)
        shown: _Array = np.rint(255 * np.clip(scaled, 0, 1)).astype("uint8")
        return shown
