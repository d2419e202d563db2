"""What phones are told of a merged step."""

from collections.abc import Mapping
from dataclasses import replace

from keras_split.protocol import vectors
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import PutHalf
from keras_split.protocol.cohort_messages import Share
from keras_split.server.cohorts import merged_words
from keras_split.server.cohorts.drawn import Drawn
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.merging import Merging
from keras_split.server.cohorts.waiting import WaitingRoom


class Told:
    """What phones are told of a merged step, and who gives its half to whom.

    Where gradients are averaged, every phone applies them, and the server has
    no half that is as new: one that has it gives it to those that are behind.
    Where weights are, the newest is the server's own.

    Args:
        half: The server's.
        room: Where those that are behind wait for it.

    Attributes:
        shares: Of the step that is being taken, by member.
        newest: Version that a phone may have.
    """

    def __init__(self, half: CohortHalf, room: WaitingRoom) -> None:
        self._half = half
        self._room = room
        self.shares: dict[int, Share] = {}
        self.newest = 0
        self._twice: set[int] = set()
        self._behind: set[int] = set()
        self._giver = -1
        self._promised = False  # a half to who is behind
        self._refused: set[int] = set()  # whose part in this step

    @property
    def most(self) -> int:
        """There have been no more averages, whatever a phone may say."""
        return max(self._half.version, self.newest)

    def averaged(self, version: int) -> None:
        """Phones have a half of this version from now on."""
        self.newest = version

    def version(self, asked: Mapping[int, AskShare], most: int) -> int:
        """Of the half that a step begins with; who has another gets it.

        Args:
            asked: What phones say, by member.
            most: The newest that is believed.
        """
        said = (m.version for m in asked.values() if m.version <= most)
        version = max(said, default=self._half.version)
        self._behind = {n for n, m in asked.items() if m.version != version}
        self._giver, self._promised = -1, True
        if self._behind and self._half.version != version:
            self._giver = min(asked.keys() - self._behind)
        return version

    def epoch_ends(self, asked: Mapping[int, AskShare]) -> dict[int, Share]:
        """What ends the epoch of all phones.

        One of them may give its half, for who comes when all are gone.
        """
        replies = merged_words.epoch_ends(asked, self._half.version)
        self._forget()
        self.shares = {n: s for n, s in replies.items() if s.give_half}
        self._giver = next(iter(self.shares), -1)
        return replies

    def begin(self, drawn: Drawn, ticket: bytes) -> dict[int, Share]:
        """A step begins.

        Returns:
            What those are told now that need not wait for the half.
        """
        self.shares = drawn.shares(ticket, self._giver)
        self._twice.clear()
        self._refused.clear()
        return {n: s for n, s in self.shares.items() if n not in self._behind}

    def begin_again(self, drawn: Drawn, ticket: bytes) -> None:
        """One that was lost is made again; nobody gets a half in it."""
        self._forget()
        self.begin(drawn, ticket)

    def again(
        self, number: int, asks: AskShare, merging: Merging | None
    ) -> Share | None:
        """What a phone has not heard, if its reply was lost.

        That is so with its connection, or with a server that was killed. Who
        only listens hears of it when the body has taken the step, too: the
        others wait for it where they average.
        """
        share = self.shares.get(number)
        if share is None or share.version != asks.version:
            return None
        if number in self._refused:
            return None
        if merging is not None and merging.lacks(number):
            return share
        if share.count or asks.seen > share.step or number in self._twice:
            return None
        if not asks.seen:  # it may not know how to say so
            self._twice.add(number)
        return share

    def refuse(self, number: int) -> None:
        """What a phone gave to the step was refused: it has heard of it."""
        self._refused.add(number)

    def gives_up(self, number: int, asks: AskShare) -> int:
        """The step in whose average nobody waits for a phone any more.

        It asks for the next without the half behind that one; -1 if it has it.
        """
        share = self.shares.get(number)
        return -1 if share is None or asks.version > share.step else share.step

    def with_half(self, number: int, asks: AskShare) -> Share | None:
        """The same for one that is behind; without tensors, it is to wait.

        A step that is made again has that half only if the server has it.
        """
        share = self.shares.get(number)
        if share is None or asks.version >= share.version:
            return None
        if asks.seen > share.step:
            return None
        if self._is_here(share):
            return self._whole(share)
        return share if self._promised else None

    def put(self, message: PutHalf, number: int, size: int) -> bool:
        """Takes the half of the one that was asked for it.

        Args:
            message: Has it.
            number: From whom.
            size: Numbers in it.

        Returns:
            Whether it was asked for.
        """
        share = self.shares.get(number)
        expected = (self._giver, share and share.version)
        if share is None or (number, message.version) != expected:
            return False
        vector = vectors.from_tensors(message.tensors, size)
        self._half.put(message.version, vector)
        return True

    def due(self) -> dict[int, Share]:
        """What those are told now who wait for the half, once it is here."""
        due = {
            number: self._whole(share)
            for number, share in self.shares.items()
            if number in self._behind and number in self._room
            if self._is_here(share)
        }
        self._behind -= due.keys()
        return due

    def _forget(self) -> None:
        self._behind, self._giver, self._promised = set(), -1, False

    def _is_here(self, share: Share) -> bool:
        return self._half.version == share.version

    def _whole(self, share: Share) -> Share:
        _, tensors = self._half.since(-1)
        return replace(share, tensors=tensors)
