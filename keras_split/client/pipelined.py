"""The phone's side of steps whose batches travel in microbatches."""

from dataclasses import replace
from typing import Any
from typing import TypeVar

from keras_split.client.retry import LATER
from keras_split.client.session import ClientSession
from keras_split.client.session import expect
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

_M = TypeVar("_M", bound=Message)


class PipelinedSession(ClientSession):
    """A conversation in which a step may have several messages on the way.

    They are sent without waiting, and answered in the order in which they
    were sent. The messages of the step are kept until the last one is
    answered: where the connection is lost, all are sent again, and answers
    that were there already are passed over.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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
        self._check_open()
        if index == 0:
            self.committed()
            self._attempt += 1
            self._posted, self._answered = [], 0
            self._clear_way()
        microbatch = Microbatch(index, count, batch, self._attempt)
        self._post(Forward(self._session, self.next_step, smashed, microbatch))

    def receive_features(self) -> tuple[list[CutTensor], float]:
        """Waits for the features of the next microbatch, and the penalty."""
        reply = self._collect(Features)
        return reply.tensors, reply.penalty

    def send_backward(
        self, features_grad: list[CutTensor], learning_rate: float
    ) -> None:
        """Sends gradients of the features of the next microbatch."""
        self._check_open()
        forwards = [m for m in self._posted if isinstance(m, Forward)]
        going_back = forwards[len(self._posted) - len(forwards)]
        self._post(
            Backward(
                self._session,
                self.next_step,
                features_grad,
                learning_rate,
                going_back.microbatch,
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
            self._taken(reply.durable_steps, messages)
        return reply.tensors

    # -- messages on the way -----------------------------------------------

    def _clear_way(self) -> None:
        """Brings the connection to where nothing is on the way."""
        if self._transport is None:
            return
        try:
            self._transport.drop()
            self._send_releases(self._transport)
        except SplitError:
            self._hang_up()  # `_collect` deals with it

    def _post(self, message: Forward | Backward) -> None:
        self._posted.append(message)
        if self._transport is None:
            return  # `_collect` connects anew
        try:
            self._transport.post(message)
        except TransportError:
            self._hang_up()

    def _collect(self, kind: type[_M]) -> _M:
        """Waits for the next reply, over as many connections as it takes."""
        self._check_open()

        def attempt() -> _M:
            try:
                transport = self._transport or self._resume(self._posted[0])
                return expect(kind, transport.collect())
            except RefusedError as error:
                if error.reason in LATER:
                    self._hang_up()  # what was sent after it is out of order
                raise
            except BaseException:
                self._hang_up()
                raise

        reply = self._insist(attempt)
        self._answered += 1
        return reply

    def _send_again(self, next_step: int, message: Message | None) -> None:
        super()._send_again(next_step, message)
        transport = self._transport
        if transport is None or message not in self._posted:
            return
        # If the step is taken, the server has the answers to come, and no
        # others: all features were here before the last gradients left.
        first = self._answered if next_step > self.next_step else 0
        self._posted = [
            replace(sent, session=self._session) for sent in self._posted
        ]
        for sent in self._posted[first:]:
            transport.post(sent)
        for _ in range(self._answered - first):
            transport.collect()
