"""Who speaks when: one training step as named methods to override."""

from typing import Any

import keras

from keras_split.conversation import Conversation


@keras.saving.register_keras_serializable(package="keras_split")
class SplitStrategy(Conversation):
    """Drives a client model and its server through training steps.

    `SplitStrategy()` trains with the server model in this process;
    `SplitStrategy("grpc://host:port")` with a server anywhere. A connection
    that is lost is opened again inside `fit`, and no step is taken twice.
    Override a method to change who says what when.

    Args:
        address: `"grpc://host:port"`, `"grpcs://host:port"` for TLS, or None.
        credentials: Certificates and token, for a server that asks for them.
        retry: How long to try when the server does not answer; None to give
            up at once.
        connect_timeout_s: How long to wait for the server to be there.
        reply_timeout_s: How long to wait for each reply.

    Attributes:
        uplink_bytes: Bytes sent to the server so far.
        downlink_bytes: Bytes received so far.

    Raises:
        ValueError: If the address is not of that form.
    """

    def get_config(self) -> dict[str, Any]:
        """A dictionary of plain values, for `from_config`."""
        credentials = self.credentials
        return {
            "address": self.address,
            "credentials": credentials and credentials.get_config(),
            "retry": self.retry.get_config(),
            "connect_timeout_s": self.connect_timeout_s,
            "reply_timeout_s": self.reply_timeout_s,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SplitStrategy":
        """The inverse of `get_config`."""
        return cls(**config)
