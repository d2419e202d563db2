"""Server and phone in one process: messages are handed over as they are."""

import contextlib
from concurrent.futures import Future

from keras_split.compression.codecs import Codec
from keras_split.protocol.messages import Message
from keras_split.protocol.wire.size import nbytes
from keras_split.server.service import HERE
from keras_split.server.service import TrainingService
from keras_split.server.session import Session
from keras_split.transports.transport import LocalTransport


class InProcessTransport(LocalTransport):
    """Hands messages to a `TrainingService` in this process.

    The tensors are quantized as they would be for a network, so a run here
    gives the same numbers. Bytes are counted as if the messages had crossed
    one: the same count as over gRPC, envelopes and codec included. With the
    raw codec nothing is copied for that; another one has to encode.

    Args:
        host: Answers them.
        codec: Would pack the codes.

    Attributes:
        host: The same.
    """

    replies_early = True

    def __init__(self, host: TrainingService, codec: Codec) -> None:
        self.host = host
        self._codec = codec

    def carry(self, message: Message) -> Message:
        """Has the host answer a message."""
        replies: list[Message] = []
        reply = self.host.handle(message, HERE, replies.append)
        replies.append(reply.result() if isinstance(reply, Future) else reply)
        self.uplink_bytes += nbytes(message, self._codec)
        self.downlink_bytes += sum(
            nbytes(reply, self._codec) for reply in replies
        )
        self._answers += tuple(replies[1:])
        return replies[0]

    def close(self) -> None:
        """Nothing to let go of."""

    def find(self, session: str) -> Session | None:
        """The server's side of a session; None if it has none."""
        return self.host.find(session)

    def joint_step(
        self, session: str
    ) -> contextlib.AbstractContextManager[None]:
        """Surrounds a step that runs in one graph with the client's."""
        return self.host.joint_step(session)
