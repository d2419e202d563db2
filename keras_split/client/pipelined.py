"""The phone's side of steps whose batches travel in microbatches."""

from dataclasses import replace
from typing import TypeVar

from keras_split.client.session import ClientSession
from keras_split.compression.tensors import CutTensor
from keras_split.errors import RefusedError
from keras_split.errors import SplitError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Microbatch
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.reasons import LATER
from keras_split.transports import Transport
from keras_split.transports.transport import expect

_M = TypeVar("_M", bound=Message)


class PipelinedSession:
    """Takes steps of a session with several messages on the way.

    They are sent without waiting, and answered in the order in which they
    were sent. The messages of the step are kept until the last one is
    answered: where the connection is lost, all are sent again, and answers
    that were there already are passed over.

    Args:
        session: Says hello and goodbye, and whatever is no step.
    """

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._attempt = 0
        self._answered = 0
        self._posted: list[Forward | Backward] = []

    def send_forward(
        self, smashed: list[CutTensor], index: int, count: int, batch: int
    ) -> None:
        """Sends the smashed data of a microbatch.

        Args:
            smashed: The head's outputs for it.
            index: Its number; 0 begins a step.
            count: How many make the step.
            batch: Examples of all of them together.
        """
        session = self._session
        session.check_open()
        if index == 0:
            session.committed()
            self._attempt += 1
            self._posted, self._answered = [], 0
            self._clear_way()
        self._post(
            Forward(
                session.connection.session,
                session.next_step,
                smashed,
                Microbatch(index, count, batch, self._attempt),
                no_smashed_grad=session.connection.no_smashed_grad,
            )
        )

    def receive_features(self) -> tuple[list[CutTensor], float]:
        """Waits for the features of the next microbatch, and the penalty."""
        reply = self._collect(Features)
        return reply.tensors, reply.penalty

    def send_backward(
        self, features_grad: list[CutTensor], learning_rate: float
    ) -> None:
        """Sends gradients of the features of the next microbatch."""
        session = self._session
        session.check_open()
        forwards = [m for m in self._posted if isinstance(m, Forward)]
        going_back = forwards[len(self._posted) - len(forwards)]
        self._post(
            Backward(
                session.connection.session,
                session.next_step,
                session.connection.needed(features_grad),
                learning_rate,
                going_back.microbatch,
                rate_said=True,
            )
        )

    def receive_smashed_grad(self) -> list[CutTensor]:
        """Waits for the smashed data's gradients of the next microbatch.

        With the last of them the server has taken the step.
        """
        reply = self._collect(SmashedGrad)
        last = self._posted[self._answered - 1].microbatch
        assert last is not None
        if last.index == last.count - 1:
            messages: list[Message] = list(self._posted)
            self._posted = []
            self._session.taken(reply, messages)
        return reply.tensors

    # -- messages on the way -----------------------------------------------

    def _clear_way(self) -> None:
        """Brings the connection to where nothing is on the way."""
        connection = self._session.connection
        if connection.transport is None:
            return
        try:
            connection.transport.drop()
            connection.send_releases(connection.transport)
        except SplitError:
            connection.hang_up()  # `_collect` deals with it

    def _post(self, message: Forward | Backward) -> None:
        for tap in self._session.taps:
            tap.sent(message)
        self._posted.append(message)
        connection = self._session.connection
        if connection.transport is None:
            return  # `_collect` connects anew
        try:
            connection.transport.post(message)
        except TransportError:
            connection.hang_up()

    def _collect(self, kind: type[_M]) -> _M:
        """Waits for the next reply, over as many connections as it takes."""
        session = self._session
        session.check_open()
        connection = session.connection

        def attempt() -> _M:
            try:
                transport = connection.transport or connection.resume(
                    session.next_step, self._repeat
                )
                return expect(kind, transport.collect())
            except RefusedError as error:
                if error.reason in LATER:
                    # What was sent after it is out of order.
                    connection.hang_up()
                raise
            except BaseException:
                connection.hang_up()
                raise

        reply = session.insist(attempt)
        for tap in session.taps:
            tap.received(self._posted[self._answered], reply)
        self._answered += 1
        return reply

    def _repeat(self, transport: Transport, taken: bool) -> None:
        """Sends the step again, and passes over the answers that were here."""
        # If the step is taken, the server has the answers to come, and no
        # others: all features were here before the last gradients left.
        first = self._answered if taken else 0
        name = self._session.connection.session
        self._posted = [replace(sent, session=name) for sent in self._posted]
        for sent in self._posted[first:]:
            transport.post(sent)
        for _ in range(self._answered - first):
            transport.collect()
