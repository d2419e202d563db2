"""The phone's end of gRPC where there are no streams."""

import grpc

from keras_split.compression import codecs
from keras_split.errors import TransportError
from keras_split.protocol.messages import Refusal
from keras_split.protocol.wire import unary
from keras_split.transports import Transport
from keras_split.transports.grpc.channel import refusal

EXCHANGE = "/keras_split.v1.SplitTraining/Exchange"


class UnaryTransport(Transport):
    """One call of gRPC for each message.

    Args:
        target: `"host:port"`.
        codec: Name of what packs the codes.
        token: What to show the server.
    """

    def __init__(self, target, codec="raw", token=None):
        self._target = target
        self._channel = grpc.insecure_channel(target)
        self._call = self._channel.unary_unary(EXCHANGE)
        self._codec = codecs.get(codec)
        self._headers = [("authorization", f"Bearer {token}")] if token else []

    def send(self, raw):
        """Sends bytes and returns the reply's, or a refusal."""
        try:
            body = self._call(raw, timeout=60, metadata=self._headers)
        except grpc.RpcError as error:
            refused = refusal(error, self._target)
            if refused is not None:
                return Refusal(refused.reason, error.details())
            raise TransportError("Expected a reply.") from error
        self.uplink_bytes += len(raw)
        self.downlink_bytes += len(body)
        return body

    def carry(self, message):
        reply = self.send(unary.encode(message, self._codec))
        if isinstance(reply, Refusal):
            return reply
        return unary.decode(reply, self._codec)

    def close(self):
        self._channel.close()
