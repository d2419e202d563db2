"""Weights that the phones of a cohort average from time to time."""

import logging
from typing import Any

import numpy as np

from keras_split.client.cohort import CohortClient
from keras_split.client.cohort import Half
from keras_split.errors import RefusedError

_LOG = logging.getLogger("keras_split")


class Rounds:
    """The rounds of one phone: it trains, and averages what has changed.

    A round begins with the cohort's half and ends with the average change of
    all phones that took part, weighted by the examples of each. The optimizer
    keeps its slots.

    Args:
        cohort: Speaks with the others.
        half: The phone's.

    Attributes:
        open: Whether it is in a round.
        steps: How many it has taken in this round.
    """

    def __init__(self, cohort: CohortClient, half: Half) -> None:
        self._cohort = cohort
        self._half = half
        self._start: np.ndarray[Any, Any] | None = None
        self._round = -1
        self._examples = 0
        self.steps = 0

    @property
    def open(self) -> bool:
        """Whether it is in a round."""
        return self._start is not None

    def begin(self) -> None:
        """Waits for the next round, unless it is in one."""
        if self.open:
            return
        self._round = self._cohort.begin_round()
        self._start = self._half.get()
        self._examples = self.steps = 0

    def trained(self, examples: int) -> None:
        """A step was taken, with so many examples of this phone."""
        self._examples += examples
        self.steps += 1

    def end(self) -> None:
        """Averages, unless it is in no round.

        Who comes too late begins the next round with the cohort's half: what
        it has learned in this one is lost, and the log says so.
        """
        start, self._start = self._start, None
        if start is None:
            return
        change = self._half.get() - start
        try:
            average = self._cohort.average(
                self._round, change, float(self._examples)
            )
        except RefusedError as error:
            if error.reason != "late":
                raise
            _LOG.warning(
                "Round %d went on without this phone, and what it learned "
                "from %d examples is lost: %s",
                self._round,
                self._examples,
                error,
            )
            self._half.set(start)  # or the cohort's half would not be here
            return
        self._half.set(start + average)  # as the server does, to the last bit
