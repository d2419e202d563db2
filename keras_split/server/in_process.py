"""Server and phone in one process: messages are handed over as they are."""

from keras_split.compression.codecs import Codec
from keras_split.protocol.messages import Message
from keras_split.protocol.wire.size import nbytes
from keras_split.server.service import TrainingService
from keras_split.transports.transport import Transport


class InProcessTransport(Transport):
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

    def __init__(self, host: TrainingService, codec: Codec) -> None:
        self.host = host
        self._codec = codec

    def _exchange(self, message: Message) -> Message:
        replies: list[Message] = []
        replies.append(self.host.handle(message, early=replies.append))
        self.uplink_bytes += nbytes(message, self._codec)
        self.downlink_bytes += sum(
            nbytes(reply, self._codec) for reply in replies
        )
        self._answers += tuple(replies[1:])
        return replies[0]

    def close(self) -> None:
        """Nothing to let go of."""
