"""The phone's side of a session: one message at a time, without Keras.

`keras_split.client.strategy` makes a Keras object of it, `keras_split.device`
uses it where there is no Keras.
"""

import logging
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from typing import TypeVar

from keras_split.client import open_sessions
from keras_split.client.connection import Connection
from keras_split.client.retry import Retry
from keras_split.client.second_reply import second_reply
from keras_split.client.tap import SessionTap
from keras_split.compression.tensors import CutTensor
from keras_split.errors import RefusedError
from keras_split.errors import SplitError
from keras_split.errors import TransportError
from keras_split.protocol.cohort_messages import Later
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Checkpoint
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import LabeledResult
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import SmashedGrad
from keras_split.transports import Route
from keras_split.transports import Transport
from keras_split.transports.transport import expect
from keras_split.utils.plain import plain

_LOG = logging.getLogger("keras_split")
_M = TypeVar("_M", bound=Message)
_R = TypeVar("_R")
_RETRY = Retry()
StepReply = SmashedGrad | Committed | LabeledResult
_NOTHING_SAID = DataDigest()


class ClientSession:
    """Speaks with one server: a session after the other, step by step.

    A session is opened by `connect` and ends with `close`. When the
    connection is lost in between, or the server dies and comes back, the
    session goes on: every message is sent until it is answered, and steps
    that the server lost are sent again. Bytes are counted over all of it. It
    is not for several threads at once.

    Args:
        route: Leads to the server; `Route.to("grpc://host:port")`.
        retry: What to do when the server does not answer; None to give up
            at once.
        overlap: Whether the server answers with gradients before it updates
            its weights; None for unless it is on this machine.
        taps: Hear every message.
        reuse: Whether the server is to keep rows of smashed data, so that
            they are sent once.

    Attributes:
        route: The same.
        retry: The same.
        overlap: Whether gradients come before the server's update.
        reuse: The same.
        taps: A list; another may be added between messages.
        next_step: Number of the session's next step.
        connection: To the server; counts the bytes.
    """

    def __init__(
        self,
        route: Route,
        *,
        retry: Retry | dict[str, Any] | None = _RETRY,
        overlap: bool | None = None,
        taps: Iterable[SessionTap] = (),
        reuse: bool = False,
    ) -> None:
        self.route = route
        self.retry = Retry.get(retry)
        self.overlap = route.far if overlap is None else overlap
        self.taps = list(taps)
        self.reuse = reuse
        self.next_step = 0
        self.connection = Connection(route, self.retry)
        self._forward: Forward | None = None
        self._uncommitted: Backward | None = None

    @property
    def connected(self) -> bool:
        """Whether a session is open."""
        return self.connection.session != ""

    def connect(
        self,
        contract: Contract,
        optimizer: str,
        loss: str = "",
        local: Transport | None = None,
        data: DataDigest = _NOTHING_SAID,
    ) -> None:
        """Opens a session; does nothing if one is open.

        Args:
            contract: What the client was cut with.
            optimizer: Config of the body's optimizer, as JSON.
            loss: Config of the loss, for models that are cut once.
            local: To the server in this process, if there is one; used if the
                route leads to no other.
            data: Hashes of classes and preprocessing.

        Raises:
            RefusedError: If the server refused the session.
            TransportError: If there is no server.
        """
        if self.connected:
            return
        moment = self.connection.moment
        hello = Hello(
            *(contract, optimizer, loss),
            moment=moment,
            data=data,
            reuse=self.reuse,
        )
        for tap in self.taps:
            tap.sent(hello)
        welcome = self.connection.open(hello, local)
        self.next_step = welcome.next_step
        if welcome.notice:
            _LOG.warning("%s", plain(welcome.notice))
        open_sessions.add(self)
        for tap in self.taps:
            tap.received(hello, welcome)

    # -- a step ------------------------------------------------------------

    def forward(
        self, smashed: list[CutTensor]
    ) -> tuple[list[CutTensor], float]:
        """First half of a step: smashed data for features and penalty."""
        self.check_open()
        self.committed()
        message = Forward(
            self.connection.session,
            self.next_step,
            smashed,
            early=self.connection.early(self.overlap),
            no_smashed_grad=self.connection.no_smashed_grad,
            merged=self.connection.merged,
        )
        self._forward = message
        reply = self._send(Features, message)
        return reply.tensors, reply.penalty

    def backward(
        self, features_grad: list[CutTensor], learning_rate: float
    ) -> list[CutTensor]:
        """Second half: feature gradients for gradients of smashed data.

        They may be here before the server has taken the step, which
        `committed` waits for.
        """
        return self.backward_of(self.next_step, features_grad, learning_rate)

    def committed(self) -> None:
        """Waits until the server has taken the step, if one is open there.

        The next message waits as well.

        Raises:
            RefusedError: If the server did not take it after all.
            TransportError: If the server went away.
        """
        message = self._uncommitted
        if message is None:
            return

        try:
            reply = self.insist(
                lambda: second_reply(self.connection, message, self.resume)
            )
        except RefusedError:
            self._uncommitted = None
            raise
        self._backward_taken(message, reply)
        for tap in self.taps:
            tap.received(message, reply)

    def backward_of(
        self, step: int, features_grad: list[CutTensor], learning_rate: float
    ) -> list[CutTensor]:
        """The same for a step that may have been taken already.

        Its gradients are those of the first time.
        """
        self.check_open()
        message = Backward(
            self.connection.session,
            step,
            self.connection.needed(features_grad),
            learning_rate,
            early=self.connection.early(self.overlap),
            rate_said=True,
        )
        reply = self._send(SmashedGrad, message)
        self._uncommitted = message
        if not message.early:
            self._backward_taken(message, reply)
        return reply.tensors

    def knows(self, step: int) -> bool:
        """Whether it has taken that step, or waits for its gradients."""
        waits = self._forward is not None and step == self.next_step
        return self.connected and (waits or step < self.next_step)

    def labeled_step(
        self,
        smashed: list[CutTensor],
        labels: list[CutTensor],
        sample_weights: list[CutTensor],
        learning_rate: float,
    ) -> LabeledResult:
        """The whole step of a model that is cut once."""
        self.check_open()
        self.committed()
        message = LabeledStep(
            self.connection.session,
            self.next_step,
            smashed,
            labels,
            sample_weights,
            learning_rate,
            rate_said=True,
            no_smashed_grad=self.connection.no_smashed_grad,
        )
        reply = self._send(LabeledResult, message)
        self.taken(reply, [message])
        return reply

    # -- between steps -----------------------------------------------------

    def infer(self, smashed: list[CutTensor]) -> tuple[list[CutTensor], float]:
        """Features in inference mode, and the body's penalty."""
        reply = self._send(Features, Infer(self.connection.session, smashed))
        return reply.tensors, reply.penalty

    def close(self) -> None:
        """Ends the session; the next `fit` opens another.

        Steps that the server could still lose are made sure of first, which
        takes as long as `retry` allows if it is not there.
        """
        if not self.connected:
            return
        connection = self.connection
        unsure = len(connection.replay_log or ())
        try:
            self.committed()
            if unsure:
                self._send(Done, Goodbye(connection.session))
            elif connection.transport is not None:
                connection.send_releases(connection.transport)
                connection.transport.exchange(Goodbye(connection.session))
        except SplitError as error:
            if unsure and getattr(error, "reason", "") != "session":
                _LOG.warning(
                    "the last %d steps may be lost on the server: %s",
                    len(connection.replay_log or ()),
                    error,
                )
        self.forget()

    # -- one message -------------------------------------------------------

    def check_open(self) -> None:
        """Checks that a session is open.

        Raises:
            TransportError: If not.
        """
        if not self.connected:
            raise TransportError(
                "Expected an open session. Received: none. Call fit, "
                "evaluate or predict, which open one."
            )

    def insist(self, attempt: Callable[[], _R]) -> _R:
        """Tries as long as `retry` allows; a lost session is forgotten."""
        try:
            try:
                return attempt()
            except (TransportError, RefusedError) as error:
                if not self.retry.helps(error):
                    raise
                return self.retry.after(error, attempt)
        except TransportError:
            self.forget()
            raise
        except RefusedError as error:
            if error.reason in ("session", "permission"):
                self.forget()
            raise

    def taken(self, reply: StepReply, messages: list[Message]) -> None:
        """The server has taken a step: keeps what it could still lose.

        Args:
            reply: Ended it.
            messages: Of the step.
        """
        step = self.next_step
        self.next_step += 1
        self.connection.stepped(reply.moment)
        self._forward = None
        log = self.connection.replay_log
        if log is None:
            return
        log.add(step, messages)
        log.drop_before(reply.durable_steps)
        if log.full:
            try:
                self._send(Done, Checkpoint(self.connection.session))
            except RefusedError as error:
                _LOG.warning("nothing more is kept for the server: %s", error)
            log.clear()

    def ask(self, kind: type[_M], message: Message) -> _M:
        """Sends a message until it is answered, and not with `Later`.

        Args:
            kind: Of the reply.
            message: What to send.

        Raises:
            RefusedError: If the server refused it.
            TransportError: If the server went away.
        """
        waits = False
        while isinstance(reply := self._send(Message, message), Later):
            if not waits:  # the server has for a while
                _LOG.info("Waits for the other phones of the cohort.")
                waits = True
        return expect(kind, reply)

    def _send(self, kind: type[_M], message: Message) -> _M:
        """Sends a message until it is answered."""
        self.check_open()
        self.committed()
        connection = self.connection
        for tap in self.taps:
            tap.sent(message)

        def attempt() -> _M:
            try:
                transport = connection.transport or self.resume(message)
                if connection.unneeded:
                    connection.send_releases(transport)
                # Under another name if the server never heard of the session.
                named: Any = replace(message, session=connection.session)  # type: ignore[call-arg]
                return expect(kind, connection.exchange(transport, named))
            except RefusedError:
                raise
            except BaseException:
                connection.hang_up()  # a late reply must not answer the next
                raise

        reply = self.insist(attempt)
        for tap in self.taps:
            tap.received(message, reply)
        return reply

    def _backward_taken(
        self, message: Backward, reply: SmashedGrad | Committed
    ) -> None:
        """The server has taken the step of a backward, now or before."""
        forward, self._uncommitted = self._forward, None
        if message.step == self.next_step and forward is not None:
            # If it is sent again, then in a row with others.
            both: list[Message] = [
                replace(sent, early=False) for sent in (forward, message)
            ]
            self.taken(reply, both)

    def resume(self, message: Message | None = None) -> Transport:
        """Connects anew, to where `message` can be sent."""

        def repeat(transport: Transport, taken: bool) -> None:
            forward = self._forward
            if isinstance(message, Backward) and forward and not taken:
                named = replace(forward, session=self.connection.session)
                transport.exchange(named)

        return self.connection.resume(self.next_step, repeat)

    def forget(self) -> None:
        """The session is over, wherever it stands."""
        self.connection.forget()
        self._forward = self._uncommitted = None
        open_sessions.discard(self)
