"""The epochs of a merged cohort."""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import Share
from keras_split.server.cohorts import merged_words


class Epochs:
    """The epochs of a merged cohort, which end for all phones at once.

    A phone that joins later, or once more, counts its own from then.

    Attributes:
        now: The cohort's.
        between: Who has just ended one, and may validate now.
    """

    def __init__(self) -> None:
        self.now = 0
        self.between: set[int] = set()
        self._offsets: dict[int, int] = {}  # `now` less a phone's

    def begin(self, number: int) -> None:
        """A phone begins to train, maybe once more: its epochs are new ones."""
        self._offsets.pop(number, None)

    def is_over(self, number: int, asks: AskShare) -> bool:
        """Whether a phone asks in one that has ended, and has nothing left."""
        self._offsets.setdefault(number, self.now - asks.epoch)
        return self._of(number, asks) < self.now and not asks.left

    def end(self, numbers: Iterable[int]) -> None:
        """Nobody that is there has anything left."""
        self.now += 1
        self.between = {*numbers}

    def catch_up(self, asked: Mapping[int, AskShare]) -> dict[int, Share]:
        """Ends one of which some have heard before the server was killed.

        One at a time, for all steps that were lost have been made again: no
        phone moves the others on by what it says alone.

        Args:
            asked: What phones say, by member.

        Returns:
            What those are told that have not heard of it.
        """
        if all(self._of(*each) <= self.now for each in asked.items()):
            return {}
        self.now += 1
        over = {
            number: merged_words.epoch_over(asks)
            for number, asks in asked.items()
            if self.is_over(number, asks)
        }
        self.between = {*over}
        return over

    def state(self) -> dict[str, Any]:
        """Plain values, from which another server goes on."""
        offsets = {str(number): o for number, o in self._offsets.items()}
        return {"epoch": self.now, "offsets": offsets}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.now = state["epoch"]
        self._offsets = {int(n): o for n, o in state["offsets"].items()}

    def _of(self, number: int, asks: AskShare) -> int:
        return asks.epoch + self._offsets.get(number, 0)
