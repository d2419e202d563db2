"""The server's half as a Keras model."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import keras

from keras_split.compression import codecs
from keras_split.compression.quantize import simulate
from keras_split.errors import OptionError
from keras_split.models import stored_config
from keras_split.models.segment_config import serialized
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.moment import Moment
from keras_split.protocol.timeline import Timeline
from keras_split.server.callbacks import CallbackList
from keras_split.server.callbacks import ServerCallback
from keras_split.server.config import ServerConfig
from keras_split.server.service import TrainingService
from keras_split.training.optimizer_check import check_optimizer
from keras_split.training.optimizer_copy import has_schedule
from keras_split.training.optimizer_copy import optimizer_copy
from keras_split.training.scopes import give_valid_scopes
from keras_split.training.server_step import ServerHalf

if TYPE_CHECKING:
    from keras_split.server.endpoint import Endpoint
    from keras_split.server.grpc.server import Server


@keras.saving.register_keras_serializable(package="keras_split")
class ServerModel(keras.Model):
    """The server's half: the body.

    Its inputs are the smashed data, its outputs the features; both lists, in
    the order of the contract. Made by `keras_split.compile`.

    Args:
        body: The body as a functional model.
        contract: What the model was cut with, or its config.
        moment: Which moment of which training it is of, or its config.
        past: The last moments of the runs before that one, or their configs.
        data_digest: What it is trained with, or its config: of a server's
            clients, one that says otherwise is refused.
        averages: How many of its steps were none: it became a mean.

    Attributes:
        own_learning_rate: Whether the body is updated at its optimizer's own.
    """

    def __init__(
        self,
        body: keras.Model,
        contract: Contract | dict[str, Any],
        name: str = "server",
        moment: Moment | dict[str, Any] | None = None,
        past: Sequence[Moment | dict[str, Any]] = (),
        data_digest: DataDigest | dict[str, Any] | None = None,
        averages: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        # As models of Keras: layers and inputs have dtypes, the whole has none.
        self.autocast = False
        self.contract = Contract.get(contract)
        self.own_learning_rate = False
        self.body = body
        give_valid_scopes(body)
        self._data_digest = DataDigest.get(data_digest)
        self._half: ServerHalf | None = None
        self._timeline = Timeline.from_config(
            {"moment": moment, "past": past, "averages": averages}
        )
        self.built = True

    def call(self, smashed: Any, training: bool | None = None) -> Any:
        """Features of smashed data, rounded as they would be sent."""
        flatten = keras.tree.flatten
        features = flatten(self.body(flatten(smashed), training=training))
        rule = self.contract.quantization.activations
        return [simulate(tensor, rule) for tensor in features]

    def compile(
        self,
        optimizer: Any = None,
        *,
        own_learning_rate: bool = False,
        **kwargs: Any,
    ) -> None:
        """Sets the optimizer that updates the body for every client.

        Without it each client's session gets the optimizer, with its own
        slots, that the client was compiled with.

        Args:
            optimizer: As in Keras.
            own_learning_rate: Whether the body is updated at the optimizer's
                own learning rate, or schedule. Otherwise it comes with each
                step, from the client's optimizer and its schedule.
            **kwargs: As in Keras.

        Raises:
            OptionError: If it has several learning rates, or averages
                weights, or there is none that could keep its own.
        """
        check_optimizer(optimizer)
        if own_learning_rate and optimizer is None:
            raise OptionError(
                "Expected an optimizer with own_learning_rate=True. Received: "
                "none, so that each client's is used. Name one: "
                "server.compile(keras.optimizers.SGD(1e-3), "
                "own_learning_rate=True)."
            )
        if has_schedule(optimizer) and not own_learning_rate:
            optimizer = optimizer_copy(optimizer, fixed_rate=True)
        self.own_learning_rate = own_learning_rate
        super().compile(optimizer=optimizer, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        """Keras' compile config, and whether the learning rate is its own."""
        config: dict[str, Any] = super().get_compile_config()
        if config and self.own_learning_rate:
            config["own_learning_rate"] = True
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """The inverse of `get_compile_config`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    @property
    def half(self) -> ServerHalf:
        """Runs the body for sessions."""
        if self._half is None:
            self._half = ServerHalf(
                self.body, self.contract, timeline=self._timeline
            )
            self._half.data = self._data_digest
        return self._half

    @property
    def timeline(self) -> Timeline:
        """Through which moments the body has come."""
        return self._timeline if self._half is None else self._half.timeline

    @timeline.setter
    def timeline(self, timeline: Timeline) -> None:
        self._timeline = timeline
        if self._half is not None:
            self._half.timeline = timeline

    @property
    def moment(self) -> Moment:
        """Which moment of which training the body is of."""
        return self.timeline.moment

    @moment.setter
    def moment(self, moment: Moment) -> None:
        self.timeline = Timeline(moment).copy()

    @property
    def data_digest(self) -> DataDigest:
        """What it is trained with, as far as it was told.

        Of the first client that trains and says so, unless the model was cut
        with a `DataSpec`.
        """
        return self._half.data if self._half is not None else self._data_digest

    @data_digest.setter
    def data_digest(self, digest: DataDigest) -> None:
        self._data_digest = digest
        if self._half is not None:
            self._half.data = digest

    def host(
        self,
        config: ServerConfig | None = None,
        *,
        events: ServerCallback | None = None,
        **options: Any,
    ) -> TrainingService:
        """What answers the messages of clients; see `TrainingService`."""
        config = ServerConfig.get(config, **options)
        optimizer, own = None, self.optimizer if self.compiled else None
        if own is not None and not config.inference_only:
            self.half.refresh()
            optimizer = self.half.adopt(own, self.own_learning_rate)
        return TrainingService(self.half, optimizer, config, events=events)

    def endpoint(
        self,
        config: ServerConfig | None = None,
        *,
        listeners: Sequence[ServerCallback] = (),
        **options: Any,
    ) -> "Endpoint":
        """What answers the calls of clients, however they come.

        `serve` puts gRPC before it; another way to reach this body is an
        adapter of your own.

        Args:
            config: How the server is run; by default as `ServerConfig()`.
            listeners: Hear what happens; see `keras_split.server.observe`.
            **options: Fields of a `ServerConfig` instead of those of
                `config`.

        Raises:
            DataError: If checkpoints are damaged, of another model, or those
                of a server that runs, or the file of tokens is of no use.
            OptionError: If there is no such option, or a value cannot be.
        """
        from keras_split.server.endpoint import Endpoint
        from keras_split.server.observe.status_collector import StatusCollector
        from keras_split.server.storage.checkpoints import claim

        config = ServerConfig.get(config, **options)
        tally = StatusCollector(
            self.contract.fingerprint,
            self.contract.cut,
            lambda: self.moment,
            config.inference_only,
        )
        events = CallbackList([tally, *listeners])
        held = contextlib.ExitStack()
        if config.checkpoints is not None:
            held.enter_context(claim(config.checkpoints))
        try:
            service = self.host(config, events=events)
            if (cohort := service.cohort) is not None:
                tally.cohort = lambda: cohort.info
            return Endpoint(
                service,
                codecs.get(self.contract.codec),
                config,
                status=tally.status,
                closed=held.close,
            )
        except BaseException:
            held.close()
            raise

    def serve(
        self,
        config: ServerConfig | None = None,
        *,
        listeners: Sequence[ServerCallback] = (),
        **options: Any,
    ) -> "Server":
        """Starts a gRPC server for this body and returns it.

        Args:
            config: How the server is run; by default as `ServerConfig()`.
            listeners: Hear what happens; see `keras_split.server.observe`.
            **options: Fields of a `ServerConfig` instead of those of
                `config`, such as `port` or `max_sessions`.

        Raises:
            DataError: If checkpoints are damaged, of another model, or those
                of a server that runs, or a file of `security` is of no use.
            OptionError: If there is no such option, or a value cannot be.
            TransportError: If the port cannot be had, or others could reach
                it without TLS.
        """
        from keras_split.server.grpc.server import Server

        endpoint = self.endpoint(config, listeners=listeners, **options)
        try:
            return Server(endpoint).start()
        except BaseException:
            endpoint.close()
            raise

    # -- weights -----------------------------------------------------------

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Keras' `set_weights`; the body is at no moment that is known."""
        super().set_weights(weights)
        self.timeline = self.timeline.lost()

    def save_own_variables(self, store: Any) -> None:
        """Puts the moment into the file, where it has weights alone, too."""
        timeline = self.timeline.get_config()
        stored_config.save(store, stored_config.MOMENT, timeline)

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` wrote."""
        config = stored_config.load(store, stored_config.MOMENT)
        self.timeline = (
            self.timeline.lost()
            if config is None
            else Timeline.from_config(config)
        )

    # -- a saved model -----------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Body, contract and moment."""
        config = {
            "name": self.name,
            "body": serialized(self.body),
            "contract": self.contract.get_config(),
        }
        if self.data_digest:
            config["data_digest"] = self.data_digest.get_config()
        return config | self.timeline.get_config()

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
