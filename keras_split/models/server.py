"""The server's half as a Keras model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import keras

from keras_split.compression import codecs
from keras_split.compression.quantize import simulate
from keras_split.protocol.contract import Contract
from keras_split.server.callbacks import CallbackList
from keras_split.server.callbacks import ServerCallback
from keras_split.server.service import TrainingService
from keras_split.training.server_step import ServerHalf

if TYPE_CHECKING:
    from keras_split.server.grpc.security import Security
    from keras_split.server.grpc.server import Server


@keras.saving.register_keras_serializable(package="keras_split")
class ServerModel(keras.Model):
    """The server's half: the body.

    Its inputs are the smashed data, its outputs the features; both lists, in
    the order of the contract. Made by `keras_split.compile`.

    Args:
        body: The body as a functional model.
        contract: What the model was cut with, or its config.
    """

    def __init__(
        self,
        body: keras.Model,
        contract: Contract | dict[str, Any],
        name: str = "server",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.contract = Contract.get(contract)
        self.body = body
        self._half: ServerHalf | None = None
        self.built = True

    def call(self, smashed: Any, training: bool | None = None) -> Any:
        """Features of smashed data, rounded as they would be sent."""
        flatten = keras.tree.flatten
        features = flatten(self.body(flatten(smashed), training=training))
        rule = self.contract.quantization.activations
        return [simulate(tensor, rule) for tensor in features]

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """Sets the optimizer that updates the body for every client.

        Without it each client's session gets the optimizer, with its own
        slots, that the client was compiled with.
        """
        super().compile(optimizer=optimizer, **kwargs)

    @property
    def half(self) -> ServerHalf:
        """Runs the body for sessions."""
        if self._half is None:
            self._half = ServerHalf(self.body, self.contract)
        return self._half

    def host(self, **limits: Any) -> TrainingService:
        """What answers the messages of clients; see `TrainingService`."""
        optimizer = None
        if self.compiled and self.optimizer is not None:
            optimizer = self.half.adopt(self.optimizer)
        return TrainingService(self.half, optimizer, **limits)

    def serve(
        self,
        port: int = 50051,
        address: str = "127.0.0.1",
        *,
        listeners: Sequence[ServerCallback] = (),
        security: "Security | None" = None,
        insecure: bool = False,
        **limits: Any,
    ) -> "Server":
        """Starts a gRPC server for this body and returns it.

        Args:
            port: Port to listen on; 0 for any free one.
            address: Name or IP address to listen on.
            listeners: Hear what happens; see `keras_split.server.observe`.
            security: Certificates and tokens; without them anyone who can
                reach the port may train.
            insecure: Whether to listen beyond this machine without TLS.
            **limits: `max_sessions`, `max_batch`, `max_message_bytes`,
                `idle_timeout_s`, `limits`, `snapshots`, `checkpoints`,
                `checkpoint_every` and `checkpoint_every_bytes` of
                `keras_split.server.service.TrainingService`, and fields of
                `keras_split.server.limits.StreamLimits`.

        Raises:
            TransportError: If the port cannot be had, or others could reach
                it without TLS.
            DataError: If checkpoints are damaged, or of another model.
        """
        from keras_split.server.grpc.server import Server
        from keras_split.server.limits import StreamLimits
        from keras_split.server.observe.status_collector import StatusCollector

        streams = {"max_streams": limits.get("max_sessions", 64)}
        for name in StreamLimits.__dataclass_fields__:
            if name == "idle_timeout_s" and name in limits:
                streams[name] = limits[name]  # sessions have the same
            elif name in limits:
                streams[name] = limits.pop(name)

        tally = StatusCollector(self.contract.fingerprint, self.contract.cut)
        host = self.host(events=CallbackList([tally, *listeners]), **limits)
        return Server(
            host,
            codecs.get(self.contract.codec),
            address,
            port,
            security=security,
            insecure=insecure,
            status=tally.status,
            **streams,
        ).start()

    def get_config(self) -> dict[str, Any]:
        """Body and contract."""
        return {
            "name": self.name,
            "body": keras.saving.serialize_keras_object(self.body),
            "contract": self.contract.get_config(),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "ServerModel":
        """The inverse of `get_config`."""
        config = dict(config)
        config["body"] = keras.saving.deserialize_keras_object(
            config["body"], custom_objects
        )
        return cls(**config)
