"""The phone's side of a session: one message at a time, without Keras.

`keras_split.strategies` makes a Keras object of it, `keras_split.device` uses
it where there is no Keras.
"""

import atexit
import logging
import weakref
from collections import deque
from typing import TYPE_CHECKING
from typing import TypeVar

from keras_split import codecs
from keras_split.errors import ProtocolError
from keras_split.errors import SplitError
from keras_split.errors import TransportError
from keras_split.messages import Backward
from keras_split.messages import Contract
from keras_split.messages import CutTensor
from keras_split.messages import Done
from keras_split.messages import Features
from keras_split.messages import Forward
from keras_split.messages import Goodbye
from keras_split.messages import Hello
from keras_split.messages import Infer
from keras_split.messages import LabeledResult
from keras_split.messages import LabeledStep
from keras_split.messages import Message
from keras_split.messages import Release
from keras_split.messages import Restore
from keras_split.messages import SmashedGrad
from keras_split.messages import Snapshot
from keras_split.messages import SnapshotTaken
from keras_split.messages import Welcome
from keras_split.transports import Transport
from keras_split.transports.grpc import GrpcTransport

if TYPE_CHECKING:
    from keras_split.host import Host

_LOG = logging.getLogger("keras_split")
_SCHEME = "grpc://"
_M = TypeVar("_M", bound=Message)
_OPEN: "weakref.WeakSet[Conversation]" = weakref.WeakSet()


class Conversation:
    """Speaks with one server: a session after the other, step by step.

    A session is opened by `connect` and ends with `close`, or when the server
    is lost. Bytes are counted over all of them. It is not for several threads
    at once.

    Args:
        address: `"grpc://host:port"`; None for a server in this process,
            which `connect` is then given.
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
        connect_timeout_s: float = 10.0,
        reply_timeout_s: float = 600.0,
    ) -> None:
        if address is not None:
            host, _, port = str(address).removeprefix(_SCHEME).rpartition(":")
            if (
                not str(address).startswith(_SCHEME)
                or not host
                or not port.isdigit()
            ):
                raise ValueError(
                    "Expected an address such as 'grpc://10.0.0.2:50051', or "
                    f"None to train in this process. Received: {address!r}."
                )
        self.address = address
        self.connect_timeout_s = connect_timeout_s
        self.reply_timeout_s = reply_timeout_s
        self.next_step = 0
        self._session = ""
        self._transport: Transport | None = None
        self._before = (0, 0)
        self._unneeded: deque[str] = deque()

    @property
    def connected(self) -> bool:
        """Whether a session is open."""
        return self._transport is not None

    @property
    def uplink_bytes(self) -> int:
        """Bytes sent to the server so far, over all sessions."""
        now = self._transport.uplink_bytes if self._transport else 0
        return self._before[0] + now

    @property
    def downlink_bytes(self) -> int:
        """Bytes received from the server so far, over all sessions."""
        now = self._transport.downlink_bytes if self._transport else 0
        return self._before[1] + now

    def connect(
        self,
        contract: Contract,
        optimizer: str,
        loss: str = "",
        host: "Host | None" = None,
    ) -> None:
        """Opens a session; does nothing if one is open.

        Args:
            contract: What the client was cut with.
            optimizer: Config of the body's optimizer, as JSON.
            loss: Config of the loss, for models that are cut once.
            host: The server in this process, if there is one.
        """
        if self._transport is not None:
            return
        transport = self._reach(contract, host)
        try:
            hello = Hello(contract, optimizer, loss)
            welcome = _expect(Welcome, transport.exchange(hello))
        except SplitError:
            transport.close()
            raise
        self._transport = transport
        self._session = welcome.session
        self.next_step = welcome.next_step
        if welcome.notice:
            _LOG.warning(welcome.notice)
        _OPEN.add(self)

    def forward(
        self, smashed: list[CutTensor]
    ) -> tuple[list[CutTensor], float]:
        """First half of a step: smashed data for features and penalty."""
        message = Forward(self._session, self.next_step, smashed)
        reply = self._send(Features, message)
        return reply.tensors, reply.penalty

    def backward(
        self, features_grad: list[CutTensor], learning_rate: float
    ) -> list[CutTensor]:
        """Second half: feature gradients for gradients of smashed data."""
        reply = self._send(
            SmashedGrad,
            Backward(
                self._session, self.next_step, features_grad, learning_rate
            ),
        )
        self.next_step += 1
        return reply.tensors

    def labeled_step(
        self,
        smashed: list[CutTensor],
        labels: list[CutTensor],
        sample_weights: list[CutTensor],
        learning_rate: float,
    ) -> LabeledResult:
        """The whole step of a model that is cut once."""
        reply = self._send(
            LabeledResult,
            LabeledStep(
                self._session,
                self.next_step,
                smashed,
                labels,
                sample_weights,
                learning_rate,
            ),
        )
        self.next_step += 1
        return reply

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

    def release(self, tag: str) -> None:
        """Tells the server that a copy is no longer needed.

        It is told with the next message, because garbage collection calls
        this at any time, in the middle of an exchange too.
        """
        self._unneeded.append(tag)

    def close(self) -> None:
        """Ends the session; the next `fit` opens another."""
        if self._transport is None:
            return
        try:
            self._send_releases(self._transport)
            self._transport.exchange(Goodbye(self._session))
        except SplitError:
            pass  # it is gone, which is what was wanted
        self._drop()

    def _reach(self, contract: Contract, host: "Host | None") -> Transport:
        if self.address is not None:
            return GrpcTransport(
                self.address.removeprefix(_SCHEME),
                codecs.get(contract.codec),
                connect_timeout_s=self.connect_timeout_s,
                reply_timeout_s=self.reply_timeout_s,
            )
        if host is None:
            raise TransportError(
                "Expected a server to train with. Received: a client that "
                "was loaded without one. Pass client.compile(..., strategy="
                "keras_split.SplitStrategy('grpc://host:port'))."
            )
        from keras_split.transports.in_process import InProcessTransport

        return InProcessTransport(host)

    def _send(self, kind: type[_M], message: Message) -> _M:
        if self._transport is None:
            raise TransportError(
                "Expected an open session. Received: none. Call fit, "
                "evaluate or predict, which open one."
            )
        try:
            self._send_releases(self._transport)
            return _expect(kind, self._transport.exchange(message))
        except TransportError:
            self._drop()
            raise

    def _send_releases(self, transport: Transport) -> None:
        while self._unneeded:
            tag = self._unneeded.popleft()
            transport.exchange(Release(self._session, tag))

    def _drop(self) -> None:
        if self._transport is not None:
            self._before = (self.uplink_bytes, self.downlink_bytes)
            self._transport.close()
        self._transport = None
        _OPEN.discard(self)


def _expect(kind: type[_M], reply: Message) -> _M:
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
