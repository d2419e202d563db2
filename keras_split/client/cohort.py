"""A phone's side of its cohort, without Keras."""

import contextlib
from typing import Any
from typing import Protocol

import numpy as np

from keras_split.client.secure_averaging import SecureAveraging
from keras_split.client.session import ClientSession
from keras_split.errors import OptionError
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.errors import SplitError
from keras_split.protocol import vectors
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.cohort import MergedStep
from keras_split.protocol.cohort_messages import GIVE_FIRST
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Enroll
from keras_split.protocol.cohort_messages import Enrolled
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.cohort_messages import Leave
from keras_split.protocol.cohort_messages import PutHalf
from keras_split.protocol.cohort_messages import RoundBegun
from keras_split.protocol.cohort_messages import Share
from keras_split.protocol.messages import Done

_TRIES = 3  # at being the first of a cohort whose server is killed
_Vector = np.ndarray[Any, Any]


class Half(Protocol):
    """Head and tail of a phone, as one vector.

    Attributes:
        size: Numbers in it.
        layout: SHA-256 of what they are, as hexadecimal digits.
        statistics: Whether some of them are statistics of a batch
            normalization.
    """

    size: int
    layout: str
    statistics: bool

    def get(self) -> _Vector:
        """A copy, shape `(size,)`, float32."""

    def set(self, vector: _Vector) -> None:
        """Puts one back."""


class CohortClient:
    """A phone of a cohort: enrolls, trains in rounds or shares, averages.

    Args:
        session: Speaks with the server; open.
        terms: How halves are averaged.
        half: The phone's.
        examples: That it has to train on.
        capacity: The most that it can take in one step; 0 for any.
        require_secure: Whether a server that could read this phone's half is
            refused. One that says it cannot is held to that in any case.

    Attributes:
        member: Its number in the cohort.
        version: Of its half: how many averages are in it.
        terms: The same.

    Raises:
        OptionError: If the server's optimizer would move statistics.
        RefusedError: With reason `"cohort"`, if the server has none, or one
            whose halves it could read though that was not to be.
    """

    def __init__(
        self,
        session: ClientSession,
        terms: AveragingTerms,
        half: Half,
        examples: int,
        capacity: int = 0,
        *,
        require_secure: bool = False,
    ) -> None:
        self._session = session
        self._half = half
        self.terms = terms
        self.version = -1
        self.member = -1
        self._examples = examples
        self._capacity = capacity
        self._seen = 0  # steps of the cohort
        if session.connection.cohort is None:
            raise RefusedError(
                "Expected a server whose phones train one model. Received: one "
                "where each phone has a half of its own. Start it with serve "
                "--cohort merged --phones 3, say, or train without averaging.",
                "cohort",
            )
        if terms.optimizer and half.statistics:
            raise OptionError(
                "Expected a half without statistics, for an optimizer on the "
                "averaged change: they are no weights, and it would make a "
                "variance negative. Received: batch normalization in head or "
                'tail. Keep it to each phone with batchnorm="local" '
                "(--keep-batchnorm-local), or leave the optimizer out."
            )
        self._secure: SecureAveraging | None = None
        if require_secure or self.info.secure:
            self._secure = SecureAveraging(session)
            self._secure.check(self.info)

    @property
    def info(self) -> CohortInfo:
        """What the server says of the cohort."""
        info = self._session.connection.cohort
        assert info is not None
        return info

    def enroll(self) -> None:
        """Joins the cohort, and takes over the half that it has.

        Raises:
            RefusedError: With reason `"cohort"`, if the others average
                otherwise, or train another half.
        """
        for last in (*[False] * (_TRIES - 1), True):
            reply = self._session.ask(
                Enrolled,
                Enroll(
                    self._name,
                    self.terms,
                    self._half.size,
                    self._half.layout,
                    self._examples,
                    self._capacity,
                    self.version,
                    averaged=getattr(self._half, "weights", 0),
                ),
            )
            self.member = reply.member
            if not reply.give_half:
                break
            try:
                self.give_half(reply.version)
                break
            except RefusedError as error:
                # A server that was killed since knows nothing of this phone.
                if error.reason != "late" or last:
                    raise
        if not reply.give_half and reply.version < self.version:
            return  # where gradients are averaged, phones are further
        self._take_over(reply)
        self.version = reply.version

    def begin_round(self) -> int:
        """Waits until it is to train, and takes over the others' half.

        Returns:
            The number of the round.
        """
        reply = self._session.ask(
            RoundBegun, BeginRound(self._name, self.version)
        )
        self._take_over(reply)
        self.version = reply.version
        return reply.round

    def share(self, left: int, epoch: int) -> Share:
        """Waits for the next merged step.

        The forward that follows is the share of that step.

        Args:
            left: Examples that it has not trained on in this epoch.
            epoch: Which one, from 0.

        Raises:
            ProtocolError: If it is drawn for more than it can take.
        """
        reply = self._ask_share(left, epoch)
        while reply.step == GIVE_FIRST:
            reply = self._ask_share(left, epoch)
        if self._capacity and reply.count > self._capacity:
            raise ProtocolError(
                f"Expected a share of {self._capacity} examples at most, as "
                "many as this phone takes in a step. Received: one of "
                f"{reply.count}. Install the same keras_split on both sides."
            )
        self._take_over(reply)
        self.version = reply.version
        self._session.connection.merged = (
            MergedStep(*(reply.step, reply.count, reply.members, reply.ticket))
            if reply.count
            else None
        )
        return reply

    def _ask_share(self, left: int, epoch: int) -> Share:
        """What the server says of the next step; gives the half first."""
        reply = self._session.ask(
            Share,
            AskShare(self._name, left, epoch, self.version, self._seen),
        )
        self._seen = max(self._seen, reply.step + 1)
        if reply.give_half:
            try:
                self.give_half(reply.version)
            except RefusedError as error:
                # The server that asked for it was killed since.
                if error.reason != "late":
                    raise
        return reply

    def average(self, round: int, vector: _Vector, weight: float) -> _Vector:
        """What all contributions together are, in the mean.

        A server that is secure learns that mean, and no phone's part in it.

        Args:
            round: Number of the round, or of the merged step.
            vector: The phone's: the change of its half since the round began,
                or gradients.
            weight: Its examples; 0 to listen only.

        Returns:
            Shape `(size,)`, float32.

        Raises:
            QuantizationError: If a number of the vector does not fit under
                masks.
            RefusedError: With reason `"late"`, if the average went on without
                this phone, or there was none.
        """
        try:
            if self._secure is not None:
                reply = self._secure.average(
                    self.info, self.member, round, vector, weight
                )
            else:
                reply = self._session.ask(
                    Gathered,
                    Contribution(
                        self._name,
                        round,
                        "value",
                        weight,
                        vectors.to_tensors(vector),
                    ),
                )
        except SplitError:
            if self.terms.what == "weights":
                self.version = -1  # it has trained on, alone
            raise
        self.version = reply.version
        average = vectors.from_tensors(reply.tensors, vector.size)
        if reply.moment:  # who was not drawn is there with the others, too
            self._session.connection.stepped(reply.moment)
        return average

    def give_half(self, version: int) -> None:
        """Gives its half to the cohort, for newcomers."""
        tensors = vectors.to_tensors(self._half.get())
        self._session.ask(Done, PutHalf(self._name, version, tensors))

    def leave(self) -> None:
        """Stops training: nobody waits for it any more, and it hangs up.

        It says so if it can. Otherwise others wait for it as for a phone that
        has lost its connection.
        """
        connection = self._session.connection
        if connection.transport is not None:
            with contextlib.suppress(SplitError):
                connection.transport.exchange(Leave(self._name))
        connection.hang_up()

    @property
    def _name(self) -> str:
        return self._session.connection.session

    def _take_over(self, reply: Enrolled | RoundBegun | Share) -> None:
        if reply.tensors:
            vector = vectors.from_tensors(reply.tensors, self._half.size)
            self._half.set(vector)
