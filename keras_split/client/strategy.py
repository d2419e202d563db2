"""What is said in a step, as methods to override."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_split.client.pipelined import PipelinedSession
from keras_split.client.retry import Retry
from keras_split.client.session import ClientSession
from keras_split.client.tap import SessionTap
from keras_split.compression.tensors import CutTensor
from keras_split.errors import OptionError
from keras_split.protocol.contract import Contract
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.messages import MAX_MICROBATCHES
from keras_split.protocol.messages import LabeledResult
from keras_split.transports import Factory
from keras_split.transports import Route
from keras_split.transports import Transport

_RETRY = Retry()
_NOTHING_SAID = DataDigest()


@keras.saving.register_keras_serializable(package="keras_split")
class SplitStrategy:
    """Drives a client model and its server through training steps.

    `SplitStrategy()` trains with the server model in this process;
    `SplitStrategy("grpc://host:port")` with a server anywhere. A connection
    that is lost is opened again inside `fit`, and no step is taken twice.

    Who only listens passes a tap. Who changes what is said overrides a
    method: `forward`, `backward` and `committed` are a step of a model that is
    cut twice, `labeled_step` one of a model that is cut once, `infer` a batch
    of `evaluate` and `predict`; with microbatches a step is `send_forward`,
    `receive_features`, `send_backward` and `receive_smashed_grad`, each
    called for each of them. A server in this process takes its steps in one
    graph with the client's, unless there is a tap or one of those methods is
    overridden: then they are messages, a little slower, and the log says so.

    With `microbatches` a batch travels in so many parts, one behind the
    other, so that phone, link and server work at the same time. The update is
    that of the whole batch; BatchNorm normalizes each part by itself. It pays
    on a slow link; "How a step travels" says what it changes.

    With `reuse` a head that does not train sends what it makes of an example
    once, and 16 bytes in its place afterwards, with the same numbers: the
    server keeps it. "How a step travels" says for how long.

    Args:
        address: `"grpc://host:port"`, `"grpcs://host:port"` for TLS, one of a
            scheme that `keras_split.transports.register` knows, or None.
        transport: Instead of an address: a `keras_split.transports.Transport`,
            which is used for every connection, or what makes one for each,
            from a `Route` and a `Contract`.
        taps: Hear every message and its reply; see `SessionTap`.
        microbatches: In how many parts a batch travels, 1 to 64. A batch with
            fewer examples than that travels whole. Only for models that are
            cut twice.
        credentials: Certificates and token, for a server that asks for them.
        retry: How long to try when the server does not answer; None to give
            up at once.
        overlap: Whether the server answers with the gradients of the smashed
            data before it computes those of its weights, so that all three
            work at the same time, with the same numbers. A step still ends
            when the server has taken it. None for unless the server is on
            this machine, where both would want the same cores.
        reuse: Whether what a frozen head sends of an example is sent once.
            Not with microbatches, and refused for a head that trains or
            draws random numbers, and for defenses of smashed data. A server
            in this process takes messages then.
        connect_timeout_s: How long to wait for the server to be there.
        reply_timeout_s: How long to wait for each reply.

    Attributes:
        address: The same, as text.
        local: Whether it trains with the server in this process.
        microbatches: In how many parts a batch travels.
        reuse: Whether what was sent before is left out.
        overlap: Whether gradients come before the server's update.
        session: What speaks with the server.

    Raises:
        ValueError: If the address is not of that form, its scheme is not
            known, or `microbatches` is no number from 1 to 64.

    Example:
        class HalfRate(keras_split.SplitStrategy):
            def backward(self, features_grad, learning_rate):
                return super().backward(features_grad, learning_rate / 2)
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        transport: Transport | Factory | None = None,
        taps: Sequence[SessionTap] = (),
        microbatches: int = 1,
        credentials: Credentials | dict[str, Any] | None = None,
        retry: Retry | dict[str, Any] | None = _RETRY,
        overlap: bool | None = None,
        reuse: bool = False,
        connect_timeout_s: float = 10.0,
        reply_timeout_s: float = 600.0,
    ) -> None:
        route = Route.to(
            address,
            transport=transport,
            credentials=credentials,
            connect_timeout_s=connect_timeout_s,
            reply_timeout_s=reply_timeout_s,
        )
        if microbatches not in range(1, MAX_MICROBATCHES + 1):
            raise ValueError(
                f"Expected microbatches from 1 to {MAX_MICROBATCHES}. "
                f"Received: {microbatches!r}. Try 2 and 4."
            )
        _check_reuse(reuse, microbatches)
        self.address = str(route.address) if route.address else None
        self.local = route.local
        self.microbatches = int(microbatches)
        self.session = ClientSession(
            route, retry=retry, overlap=overlap, taps=taps, reuse=reuse
        )
        self.overlap = self.session.overlap
        self.reuse = reuse
        self._overlap = overlap
        self._pipelined = PipelinedSession(self.session)

    # -- a session ---------------------------------------------------------

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
            local: To the server in this process, if there is one.
            data: Hashes of classes and preprocessing.
        """
        self.session.connect(contract, optimizer, loss, local, data)

    def close(self) -> None:
        """Ends the session; the next `fit` opens another."""
        self.session.close()

    @property
    def connected(self) -> bool:
        """Whether a session is open."""
        return self.session.connected

    @property
    def next_step(self) -> int:
        """Number of the session's next step."""
        return self.session.next_step

    @property
    def uplink_bytes(self) -> int:
        """Bytes sent to the server so far, over all sessions."""
        return self.session.connection.uplink_bytes

    @property
    def downlink_bytes(self) -> int:
        """Bytes received from the server so far, over all sessions."""
        return self.session.connection.downlink_bytes

    # -- what is said ------------------------------------------------------

    def expects(self, *, smashed_grad: bool) -> None:
        """Told before a step: whether gradients of the smashed data are used.

        A head without weights to train uses none, and the server is told so:
        then `backward` and the like return an empty list.
        """
        self.session.connection.no_smashed_grad = not smashed_grad

    def forward(
        self, smashed: list[CutTensor]
    ) -> tuple[list[CutTensor], float]:
        """First half of a step: smashed data for features and penalty."""
        return self.session.forward(smashed)

    def backward(
        self, features_grad: list[CutTensor], learning_rate: float
    ) -> list[CutTensor]:
        """Second half: feature gradients for gradients of smashed data.

        They may be here before the server has taken the step.
        """
        return self.session.backward(features_grad, learning_rate)

    def committed(self) -> None:
        """Waits until the server has taken the step.

        Raises:
            RefusedError: If the server did not take it after all.
            TransportError: If the server went away.
        """
        self.session.committed()

    def labeled_step(
        self,
        smashed: list[CutTensor],
        labels: list[CutTensor],
        sample_weights: list[CutTensor],
        learning_rate: float,
    ) -> LabeledResult:
        """The whole step of a model that is cut once."""
        return self.session.labeled_step(
            smashed, labels, sample_weights, learning_rate
        )

    def infer(self, smashed: list[CutTensor]) -> tuple[list[CutTensor], float]:
        """Features in inference mode, and the body's penalty."""
        return self.session.infer(smashed)

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
        self._pipelined.send_forward(smashed, index, count, batch)

    def receive_features(self) -> tuple[list[CutTensor], float]:
        """Waits for the features of the next microbatch, and the penalty."""
        return self._pipelined.receive_features()

    def send_backward(
        self, features_grad: list[CutTensor], learning_rate: float
    ) -> None:
        """Sends gradients of the features of the next microbatch."""
        self._pipelined.send_backward(features_grad, learning_rate)

    def receive_smashed_grad(self) -> list[CutTensor]:
        """Waits for the smashed data's gradients of the next microbatch."""
        return self._pipelined.receive_smashed_grad()

    # -- a saved model -----------------------------------------------------

    def __repr__(self) -> str:
        where = "in this process" if self.local else repr(self.address)
        parts = [where if self.address or self.local else "a transport"]
        if self.microbatches > 1:
            parts.append(f"microbatches={self.microbatches}")
        if self.connected:
            parts.append(f"connected, step {self.next_step}")
        return f"<SplitStrategy {', '.join(parts)}>"

    def get_config(self) -> dict[str, Any]:
        """A dictionary of plain values, for `from_config`.

        Taps and a transport that is an object are not in it.
        """
        session = self.session
        credentials = session.route.credentials
        config: dict[str, Any] = {
            "address": self.address,
            "microbatches": self.microbatches,
            "credentials": credentials and credentials.get_config(),
            "retry": session.retry.get_config(),
            "overlap": self._overlap,
            "connect_timeout_s": session.route.connect_timeout_s,
            "reply_timeout_s": session.route.reply_timeout_s,
        }
        if self.reuse:  # older versions know no such thing
            config["reuse"] = True
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SplitStrategy":
        """The inverse of `get_config`."""
        return cls(**config)


def _check_reuse(reuse: Any, microbatches: int) -> None:
    if not isinstance(reuse, bool):
        raise OptionError(
            f"Expected reuse to be True or False. Received: {reuse!r}. How "
            "much is kept, its server says: max_reuse_bytes."
        )
    if reuse and microbatches > 1:
        raise OptionError(
            "Expected whole batches for reuse=True. Received: "
            f"microbatches={microbatches}. Leave one of the two out."
        )
