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

_NOBODY = (-1, -1)


class Told:
    """What phones are told of a merged step, and who gives its half to whom.

    Where gradients are averaged, every phone applies them, and the server has
    no half that is as new: one that has it gives it to those that are behind.
    It does so before the step is drawn, and the half is in a checkpoint then:
    a step that the server loses is made again with all that were in it.
    Where weights are averaged, the newest half is the server's own.

    Args:
        half: The server's.

    Attributes:
        shares: Of the step that is being taken, by member.
        newest: Version that a phone may have.
    """

    def __init__(self, half: CohortHalf) -> None:
        self._half = half
        self.shares: dict[int, Share] = {}
        self.newest = 0
        self._heard: set[int] = set()  # who gave something to this step
        self._twice: set[int] = set()
        self._behind: set[int] = set()
        self._giver = _NOBODY  # a member, and the version of its half
        self._unwilling: set[int] = set()  # who was asked, and may not give
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
        return version

    def giver(self, asked: Mapping[int, AskShare], version: int) -> int | None:
        """Who gives its half before a step, and asks again.

        None if nobody needs to, or nobody is left who was not asked before.

        Args:
            asked: What phones say, by member.
            version: Of the half that the step begins with.
        """
        found = asked.keys() - self._behind - self._unwilling
        if not found or not self.stranded(version):
            return None
        self._giver = min(found), version
        self._unwilling.add(min(found))
        return self._giver[0]

    def stranded(self, version: int) -> set[int]:
        """Who cannot begin a step for which the server has no half.

        Args:
            version: Of the half that the step begins with.
        """
        return set() if self._half.version == version else {*self._behind}

    def epoch_ends(self, asked: Mapping[int, AskShare]) -> dict[int, Share]:
        """What ends the epoch of all phones.

        One of them may give its half, for who comes when all are gone.
        """
        replies = merged_words.epoch_ends(asked, self._half.version)
        self.shares = {}
        self._unwilling.clear()
        gives = ((n, s.version) for n, s in replies.items() if s.give_half)
        self._giver = next(gives, _NOBODY)
        return replies

    def begin(self, drawn: Drawn, ticket: bytes) -> dict[int, Share]:
        """A step begins; returns what its members are told."""
        self.shares = drawn.shares(ticket)
        self._giver = _NOBODY
        self._unwilling.clear()
        self._heard.clear()
        self._twice.clear()
        self._refused.clear()
        return {
            number: self._whole(share) if number in self._behind else share
            for number, share in self.shares.items()
        }

    def begin_again(self, drawn: Drawn, ticket: bytes) -> None:
        """One that was lost is made again; nobody is told of it unasked."""
        self._behind = set()
        self.begin(drawn, ticket)

    def again(
        self, number: int, asks: AskShare, merging: Merging | None
    ) -> Share | None:
        """What a phone has not heard, if its reply was lost.

        That is so with its connection, or with a server that was killed. Who
        only listens hears of it when the body has taken the step, too: the
        others wait for it where they average. So does a message that comes
        late, behind what its phone has given to the step: it was sent over a
        connection that is gone, and asks for nothing new.
        """
        share = self.shares.get(number)
        if share is None or share.version != asks.version:
            return None
        if number in self._refused:
            return None
        if merging is not None and merging.lacks(number):
            return share
        if share.count and not (asks.seen and number in self._heard):
            return None
        if asks.seen > share.step or number in self._twice:
            return None
        if not asks.seen:  # it may not know how to say so
            self._twice.add(number)
        return share

    def heard(self, number: int) -> None:
        """A phone gave something to the step, so it has heard of it."""
        self._heard.add(number)

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
        """The same for one that is behind, with the half of the step.

        None if the server has it no more, or never had.
        """
        share = self.shares.get(number)
        if share is None or asks.version >= share.version:
            return None
        if asks.seen > share.step or self._half.version != share.version:
            return None
        return self._whole(share)

    def put(self, message: PutHalf, number: int, size: int) -> bool:
        """Takes the half of the one that was asked for it.

        Args:
            message: Has it.
            number: From whom.
            size: Numbers in it.

        Returns:
            Whether it was asked for.
        """
        if (number, message.version) != self._giver:
            return False
        vector = vectors.from_tensors(message.tensors, size)
        self._half.put(message.version, vector)
        return True

    def _whole(self, share: Share) -> Share:
        _, tensors = self._half.since(-1)
        return replace(share, tensors=tensors)
