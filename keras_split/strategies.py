"""Who speaks when: one training step as named methods to override."""

from typing import Any

import keras

from keras_split.conversation import Conversation


@keras.saving.register_keras_serializable(package="keras_split")
class SplitStrategy(Conversation):
    """Drives a client model and its server through training steps.

    `SplitStrategy()` trains with the server model in this process;
    `SplitStrategy("grpc://host:port")` with a server anywhere. Override a
    method to change who says what when.

    Args:
        address: `"grpc://host:port"`, or None.
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
        return {
            "address": self.address,
            "connect_timeout_s": self.connect_timeout_s,
            "reply_timeout_s": self.reply_timeout_s,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SplitStrategy":
        """The inverse of `get_config`."""
        return cls(**config)
