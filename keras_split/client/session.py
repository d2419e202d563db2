"""The phone's side of a session: one message at a time, without Keras.

`keras_split.client.strategy` makes a Keras object of it, `keras_split.device`
uses it where there is no Keras.
"""

import atexit
import contextlib
import logging
import weakref
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

from keras_split.client.connection import Connection
from keras_split.client.replay_log import ReplayLog
from keras_split.client.retry import Retry
from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.errors import SplitError
from keras_split.errors import TransportError
from keras_split.protocol.contract import Contract
from keras_split.protocol.credentials import Credentials
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
from keras_split.protocol.messages import Release
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import SnapshotTaken
from keras_split.protocol.messages import Welcome
from keras_split.transports import Transport

if TYPE_CHECKING:
    from keras_split.server.service import TrainingService
    from keras_split.server.session import Session

_LOG = logging.getLogger("keras_split")
_M = TypeVar("_M", bound=Message)
_R = TypeVar("_R")
_RETRY = Retry()
_OPEN: "weakref.WeakSet[ClientSession]" = weakref.WeakSet()


class ClientSession(Connection):
    """Speaks with one server: a session after the other, step by step.

    A session is opened by `connect` and ends with `close`. When the
    connection is lost in between, or the server dies and comes back, the
    session goes on: every message is sent until it is answered, and steps
    that the server lost are sent again. Bytes are counted over all of it. It
    is not for several threads at once.

    Args:
        address: `"grpc://host:port"`, or `"grpcs://host:port"` for TLS; None
            for a server in this process, which `connect` is then given.
        credentials: Certificates and token, for a server that asks for them.
        retry: What to do when the server does not answer; None to give up
            at once.
        overlap: Whether the server answers with gradients before it updates
            its weights; None for unless it is on this machine.
        connect_timeout_s: How long to wait for the server to be there.
        reply_timeout_s: How long to wait for each reply.

    Attributes:
        uplink_bytes: Bytes sent to the server so far.
        downlink_bytes: Bytes received so far.
        next_step: Number of the session's next step.

    Raises:
        ValueError: If the address is not of that form.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        credentials: Credentials | dict[str, Any] | None = None,
        retry: Retry | dict[str, Any] | None = _RETRY,
        overlap: bool | None = None,
        connect_timeout_s: float = 10.0,
        reply_timeout_s: float = 600.0,
    ) -> None:
        super().__init__(
            address,
            credentials=credentials,
            connect_timeout_s=connect_timeout_s,
            reply_timeout_s=reply_timeout_s,
        )
        self.retry = Retry.get(retry)
        self.overlap = self._far if overlap is None else overlap
        self.next_step = 0
        self._session = ""
        self._hello: Hello | None = None
        self._host: TrainingService | None = None
        self._early = False
        self._forward: Forward | None = None
        self._uncommitted: Backward | None = None
        self._sent: ReplayLog | None = None
        self._unneeded: deque[str] = deque()

    @property
    def connected(self) -> bool:
        """Whether a session is open."""
        return self._session != ""

    def connect(
        self,
        contract: Contract,
        optimizer: str,
        loss: str = "",
        host: "TrainingService | None" = None,
    ) -> None:
        """Opens a session; does nothing if one is open.

        Args:
            contract: What the client was cut with.
            optimizer: Config of the body's optimizer, as JSON.
            loss: Config of the loss, for models that are cut once.
            host: The server in this process, if there is one.
        """
        if self.connected:
            return
        self._hello = Hello(contract, optimizer, loss)
        self._host = host
        welcome = self._open(self._hello)
        if welcome.notice:
            _LOG.warning(welcome.notice)
        _OPEN.add(self)

    def forward(
        self, smashed: list[CutTensor]
    ) -> tuple[list[CutTensor], float]:
        """First half of a step: smashed data for features and penalty."""
        self._check_open()
        self.committed()
        message = Forward(
            self._session, self.next_step, smashed, early=self._early
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
        self._check_open()
        message = Backward(
            self._session,
            self.next_step,
            features_grad,
            learning_rate,
            early=self._early,
        )
        reply = self._send(SmashedGrad, message)
        self._uncommitted = message
        if not message.early:
            self._taken_back(message, reply.durable_steps)
        return reply.tensors

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

        def attempt() -> int:
            try:
                transport = self._transport or self._resume(message)
                if transport.owes:
                    return expect(Committed, transport.collect()).durable_steps
                again = replace(message, session=self._session, early=False)
                reply = transport.exchange(again)
                return expect(SmashedGrad, reply).durable_steps
            except RefusedError:
                raise
            except BaseException:
                self._hang_up()
                raise

        try:
            durable_steps = self._insist(attempt)
        except RefusedError:
            self._uncommitted = None
            raise
        self._taken_back(message, durable_steps)

    def backward_of(
        self, step: int, features_grad: list[CutTensor], learning_rate: float
    ) -> list[CutTensor]:
        """The same for a step that may have been taken already.

        It is not taken again then; its gradients are those of the first time.
        If not, it is now: nothing is left to wait for.
        """
        self._check_open()
        message = Backward(self._session, step, features_grad, learning_rate)
        reply = self._send(SmashedGrad, message)
        self._taken_back(message, reply.durable_steps)
        return reply.tensors

    def labeled_step(
        self,
        smashed: list[CutTensor],
        labels: list[CutTensor],
        sample_weights: list[CutTensor],
        learning_rate: float,
    ) -> LabeledResult:
        """The whole step of a model that is cut once."""
        self._check_open()
        self.committed()
        message = LabeledStep(
            self._session,
            self.next_step,
            smashed,
            labels,
            sample_weights,
            learning_rate,
        )
        reply = self._send(LabeledResult, message)
        self._taken(reply.durable_steps, [message])
        return reply

    @property
    def local_session(self) -> "Session | None":
        """The server's side of the session, if it is in this process."""
        host = self._local_host()
        return host.find(self._session) if host is not None else None

    @contextlib.contextmanager
    def joint_step(self) -> Iterator[tuple[str, int, bool]]:
        """Surrounds a step that runs in one graph with the body.

        Yields:
            The session's name, the step's number, and whether gradients
            would come before the body's update.

        Raises:
            RefusedError: If the server refuses the step.
        """
        self._check_open()
        self.committed()
        transport = self._transport or self._resume()
        self._send_releases(transport)
        host = self._local_host()
        session = self.local_session
        assert host is not None
        try:
            with host.joint_step(self._session):
                yield self._session, self.next_step, self._early
        except RefusedError as error:
            if error.reason in ("session", "permission"):
                self._forget()
            raise
        finally:
            if session is not None:
                self.next_step = session.next_step

    def count(self, uplink_bytes: int, downlink_bytes: int) -> None:
        """Counts what would have crossed a network."""
        assert self._transport is not None
        self._transport.uplink_bytes += uplink_bytes
        self._transport.downlink_bytes += downlink_bytes

    def infer(self, smashed: list[CutTensor]) -> tuple[list[CutTensor], float]:
        """Features in inference mode, and the body's penalty."""
        reply = self._send(Features, Infer(self._session, smashed))
        return reply.tensors, reply.penalty

    def snapshot(self) -> str:
        """Has the server keep a copy of the body; returns its tag."""
        return self._send(SnapshotTaken, Snapshot(self._session)).tag

    def restore(self, tag: str, *, optimizer: bool = False) -> None:
        """Has the server bring a copy back."""
        self._send(Done, Restore(self._session, tag, optimizer))
        if self._sent is not None:
            self._sent.clear()  # the server wrote a checkpoint

    def release(self, tag: str) -> None:
        """Tells the server that a copy is no longer needed.

        It is told with the next message, because garbage collection calls
        this at any time, in the middle of an exchange too.
        """
        self._unneeded.append(tag)

    def close(self) -> None:
        """Ends the session; the next `fit` opens another.

        Steps that the server could still lose are made sure of first, which
        takes as long as `retry` allows if it is not there.
        """
        if not self.connected:
            return
        unsure = self._sent is not None and len(self._sent) > 0
        try:
            self.committed()
            if unsure:
                self._send(Done, Goodbye(self._session))
            elif self._transport is not None:
                self._send_releases(self._transport)
                self._transport.exchange(Goodbye(self._session))
        except SplitError as error:
            if unsure and getattr(error, "reason", "") != "session":
                _LOG.warning(
                    "the last %d steps may be lost on the server: %s",
                    len(self._sent or ()),
                    error,
                )
        self._forget()

    # -- one message -------------------------------------------------------

    def _check_open(self) -> None:
        if not self.connected:
            raise TransportError(
                "Expected an open session. Received: none. Call fit, "
                "evaluate or predict, which open one."
            )

    def _send(self, kind: type[_M], message: Message) -> _M:
        """Sends a message until it is answered."""
        self._check_open()
        self.committed()

        def attempt() -> _M:
            try:
                transport = self._transport or self._resume(message)
                self._send_releases(transport)
                # Under another name if the server never heard of the session.
                named: Any = replace(message, session=self._session)  # type: ignore[call-arg]
                return expect(kind, transport.exchange(named))
            except RefusedError:
                raise
            except BaseException:
                self._hang_up()  # a late reply must not answer the next
                raise

        return self._insist(attempt)

    def _insist(self, attempt: Callable[[], _R]) -> _R:
        """Tries as long as `retry` allows; a lost session is forgotten."""
        try:
            return self.retry.call(attempt)
        except TransportError:
            self._forget()
            raise
        except RefusedError as error:
            if error.reason in ("session", "permission"):
                self._forget()
            raise

    def _send_releases(self, transport: Transport) -> None:
        while self._unneeded:
            transport.exchange(Release(self._session, self._unneeded[0]))
            self._unneeded.popleft()

    def _taken_back(self, message: Backward, durable_steps: int) -> None:
        """The server has taken the step of a backward, now or before."""
        forward, self._uncommitted = self._forward, None
        if message.step == self.next_step and forward is not None:
            # If it is sent again, then in a row with others.
            both: list[Message] = [
                replace(sent, early=False) for sent in (forward, message)
            ]
            self._taken(durable_steps, both)

    def _taken(self, durable_steps: int, messages: list[Message]) -> None:
        """The server has taken a step: keeps what it could still lose."""
        step = self.next_step
        self.next_step += 1
        self._forward = None
        if self._sent is None:
            return
        self._sent.add(step, messages)
        self._sent.drop_before(durable_steps)
        if self._sent.full:
            try:
                self._send(Done, Checkpoint(self._session))
            except RefusedError as error:
                _LOG.warning("nothing more is kept for the server: %s", error)
            self._sent.clear()

    # -- connections -------------------------------------------------------

    def _open(self, hello: Hello) -> Welcome:
        """Connects and says hello."""
        transport = self._reach(hello.contract, self._host)
        try:
            welcome = expect(Welcome, transport.exchange(hello))
        except BaseException:
            transport.close()
            raise
        self._transport = transport
        self._early = self.overlap and welcome.replies_early
        if not hello.session:
            self._session = welcome.session
            self.next_step = welcome.next_step
            if welcome.keeps_checkpoints and self.retry.give_up_s:
                self._sent = ReplayLog(
                    self.retry.memory_bytes, self.retry.disk_bytes
                )
        elif self._sent is not None:
            self._sent.drop_before(welcome.durable_steps)
        return welcome

    def _resume(self, message: Message | None = None) -> Transport:
        """Connects anew and sends again what the server has lost."""
        assert self._hello is not None
        hello = replace(
            self._hello, session=self._session, next_step=self.next_step
        )
        try:
            try:
                welcome = self._open(hello)
            except RefusedError as error:
                if error.reason != "session" or self.next_step:
                    raise
                welcome = self._open(self._hello)  # nothing is lost
            self._send_again(welcome.next_step, message)
        except BaseException:
            self._hang_up()
            raise
        assert self._transport is not None
        return self._transport

    def _send_again(self, next_step: int, message: Message | None) -> None:
        """Brings the server to where it was before `message`."""
        transport = self._transport
        assert transport is not None
        first = self._sent.first if self._sent is not None else None
        known = self.next_step if first is None else first
        if not known <= next_step <= self.next_step + 1:
            raise RefusedError(
                f"Expected a server that has taken the steps before {known}, "
                f"and none after {self.next_step}. Received: one whose next "
                f"step is {next_step}: it went back to an old checkpoint. "
                "Go on from a saved state of both halves.",
                "order",
            )
        if next_step < self.next_step:
            _LOG.warning(
                "The server lost steps %d to %d; they are sent again.",
                next_step,
                self.next_step - 1,
            )
        for lost in self._sent.since(next_step) if self._sent else ():
            transport.exchange(lost)
        taken = next_step > self.next_step
        if isinstance(message, Backward) and self._forward and not taken:
            transport.exchange(replace(self._forward, session=self._session))

    def _forget(self) -> None:
        """The session is over, wherever it stands."""
        self._hang_up()
        if self._sent is not None:
            self._sent.clear()
        self._sent = self._forward = self._uncommitted = None
        self._session = ""
        _OPEN.discard(self)


def expect(kind: type[_M], reply: Message) -> _M:
    """The reply, if it is of that kind."""
    if not isinstance(reply, kind):
        raise ProtocolError(
            f"Expected a {kind.__name__}. Received: a {type(reply).__name__}."
            " Install the same keras_split on the phone and on the server."
        )
    return reply


@atexit.register
def _close_all() -> None:
    for conversation in list(_OPEN):
        conversation.close()
