"""Who speaks when: one training step as named methods to override."""

from typing import TYPE_CHECKING
from typing import Any

import keras

from keras_split.client.pipelined import PipelinedSession
from keras_split.client.retry import Retry
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.messages import MAX_MICROBATCHES

_RETRY = Retry()

if TYPE_CHECKING:
    from keras_split.server.session import Session

_STEP = ("forward", "backward", "committed", "backward_of", "labeled_step")


@keras.saving.register_keras_serializable(package="keras_split")
class SplitStrategy(PipelinedSession):
    """Drives a client model and its server through training steps.

    `SplitStrategy()` trains with the server model in this process;
    `SplitStrategy("grpc://host:port")` with a server anywhere. A connection
    that is lost is opened again inside `fit`, and no step is taken twice.
    Override a method to change who says what when.

    With `microbatches` a batch travels in so many parts, one behind the
    other, so that phone, link and server work at the same time. The update is
    that of the whole batch; BatchNorm normalizes each part by itself. It pays
    on a slow link; "How a step travels" says what it changes.

    Args:
        address: `"grpc://host:port"`, `"grpcs://host:port"` for TLS, or None.
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
        connect_timeout_s: How long to wait for the server to be there.
        reply_timeout_s: How long to wait for each reply.

    Attributes:
        uplink_bytes: Bytes sent to the server so far.
        downlink_bytes: Bytes received so far.
        microbatches: In how many parts a batch travels.
        overlap: Whether gradients come before the server's update.

    Raises:
        ValueError: If the address is not of that form, or `microbatches` is
            no number from 1 to 64.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        microbatches: int = 1,
        credentials: Credentials | dict[str, Any] | None = None,
        retry: Retry | dict[str, Any] | None = _RETRY,
        overlap: bool | None = None,
        connect_timeout_s: float = 10.0,
        reply_timeout_s: float = 600.0,
    ) -> None:
        super().__init__(
            address,
            credentials=credentials,
            retry=retry,
            overlap=overlap,
            connect_timeout_s=connect_timeout_s,
            reply_timeout_s=reply_timeout_s,
        )
        if microbatches not in range(1, MAX_MICROBATCHES + 1):
            raise ValueError(
                f"Expected microbatches from 1 to {MAX_MICROBATCHES}. "
                f"Received: {microbatches!r}. Try 2 and 4."
            )
        self.microbatches = int(microbatches)
        self._overlap = overlap

    @property
    def joint_session(self) -> "Session | None":
        """The server's side, if steps may run in one graph with it.

        That takes a server in this process, and the methods of a step as
        they are here: one that is overridden is called instead.
        """
        mine = type(self)
        for name in _STEP:
            if getattr(mine, name) is not getattr(SplitStrategy, name):
                return None
            if name in vars(self):
                return None
        session = self.local_session
        if session is None or self.microbatches > 1:
            return None
        if session.limits.clip_grad_norm is not None:
            return None
        return session

    def get_config(self) -> dict[str, Any]:
        """A dictionary of plain values, for `from_config`."""
        credentials = self.credentials
        return {
            "address": self.address,
            "microbatches": self.microbatches,
            "credentials": credentials and credentials.get_config(),
            "retry": self.retry.get_config(),
            "overlap": self._overlap,
            "connect_timeout_s": self.connect_timeout_s,
            "reply_timeout_s": self.reply_timeout_s,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SplitStrategy":
        """The inverse of `get_config`."""
        return cls(**config)
