"""The phone's half as a Keras model."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_split.client.strategy import SplitStrategy
from keras_split.defenses.chain import Chain
from keras_split.errors import ExportError
from keras_split.errors import OptionError
from keras_split.models import by_length
from keras_split.models import functions
from keras_split.models import shared_layers
from keras_split.models import uncounted
from keras_split.models.client_half import client_half
from keras_split.models.data_spec_of import DataSpecOf
from keras_split.models.drawn_labels import drawn_labels
from keras_split.models.io_map import Wiring
from keras_split.models.of_length import of_length
from keras_split.models.reuse_check import check_reuse
from keras_split.models.segment_config import serialized
from keras_split.models.server_link import ServerLink
from keras_split.models.server_link import check_microbatches
from keras_split.models.server_link import describe_loss
from keras_split.models.snapshot_weights import SnapshotWeights
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_spec import DataSpec
from keras_split.protocol.moment import Moment
from keras_split.training import tf_threads
from keras_split.training.client_step import Step
from keras_split.training.crossed_step import CrossedStep
from keras_split.training.optimizer_check import check_optimizer
from keras_split.training.rate_multipliers import RateMultipliers
from keras_split.training.remote_body import RemoteBody
from keras_split.training.scopes import give_valid_scopes
from keras_split.utils import keras_private


@keras.saving.register_keras_serializable(package="keras_split")
class ClientModel(SnapshotWeights):
    """The phone's half: head and tail, with the server in between.

    It takes what the whole model took and returns what that returned, so
    `fit`, `evaluate`, `predict` and callbacks are Keras' own; a session with
    the server is opened when Keras asks for the function of a batch. Made by
    `keras_split.compile`.

    Args:
        head: The head as a functional model.
        tail: The tail; None for a model that is cut once.
        contract: What the model was cut with, or its config.
        wiring: Which inputs and outputs belong together, or its config.
        defenses: What is done to tensors before they are quantized and sent:
            a `keras_split.defenses.Chain`, its config, or a list of defenses.
        moment: Which moment of which training it is of, or its config.
        data_spec: Classes and preprocessing of its data, or their config.
            It may be set later on, too.

    Attributes:
        learning_rate_multipliers: Of head, body and tail, as compiled.
    """

    data_spec = DataSpecOf()

    def __init__(
        self,
        head: keras.Model,
        tail: keras.Model | None,
        contract: Contract | dict[str, Any],
        wiring: Wiring | dict[str, Any],
        name: str = "client",
        defenses: Any = None,
        moment: Moment | dict[str, Any] | None = None,
        data_spec: DataSpec | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        # As models of Keras: layers and inputs have dtypes, the whole has none.
        self.autocast = False
        self.contract = Contract.get(contract)
        self.wiring = Wiring.get(wiring)
        self.head = head
        self.defenses = Chain.get(defenses)
        self.tail = tail
        for half in filter(None, (head, tail)):
            give_valid_scopes(half)
        if self.wiring.output_names:
            self.output_names = list(self.wiring.output_names)
        self.learning_rate_multipliers = RateMultipliers()
        self._server_link = ServerLink()
        self.moment = Moment.get(moment)
        self._server_link.trained_before = bool(self.moment)
        self.data_spec = data_spec
        self._half = client_half(self)
        self.built = True

    # -- Keras -------------------------------------------------------------

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The whole model in inference mode; the server runs the body.

        Raises:
            OptionError: If `training` is True, or a tape that watches more
                than the tail asks for gradients: a step is one of `fit`.
        """
        if training:
            raise OptionError(
                "Expected training=False, for a call of the client is one in "
                "inference mode: the server's half of a step needs the "
                "gradients as well. Received: training=True. Train with "
                "client.fit or client.train_on_batch, and give a loss of your "
                "own to client.compile."
            )
        head_inputs, tail_inputs = self.wiring.sort(inputs)
        outputs, _ = self._half.infer(head_inputs, tail_inputs)
        return self.wiring.pack(outputs)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *args: Any,
        strategy: SplitStrategy | None = None,
        learning_rate_multipliers: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keras' `compile`, and the strategy that speaks with the server.

        Args:
            optimizer: For head and tail; its config goes to the server, where
                the body gets one like it.
            loss: As in Keras.
            *args: As in Keras.
            strategy: How to reach the server; by default the one from the
                last `compile`, at first the server in this process.
            learning_rate_multipliers: By what `"head"`, `"body"` and `"tail"`
                multiply the learning rate; 1 where nothing is said.
            **kwargs: As in Keras; `jit_compile` cannot be True, for a step
                talks to the server in its middle.

        Raises:
            ValueError: If `jit_compile` is True.
            OptionError: If the optimizer has several learning rates, or
                averages weights, or a multiplier is none.
        """
        check_optimizer(optimizer)
        rates = RateMultipliers.get(learning_rate_multipliers)
        rates.check(self.head, self.tail)
        if kwargs.get("jit_compile") is True:
            raise ValueError(
                "Expected jit_compile=False for a split model, whose step "
                "talks to the server in the middle. Received: True."
            )
        kwargs["jit_compile"] = False
        self._server_link.use(strategy)
        self.learning_rate_multipliers = rates
        steps = uncounted.steps_of(self)
        super().compile(optimizer, loss, *args, **kwargs)
        if uncounted.steps_of(self) < steps:
            uncounted.note(self, uncounted.BEGUN_AGAIN)

    def get_compile_config(self) -> dict[str, Any]:
        """Keras' compile config and the strategy."""
        config: dict[str, Any] = super().get_compile_config()
        if config:
            config["strategy"] = keras.saving.serialize_keras_object(
                self.strategy
            )
            if not self.learning_rate_multipliers.alike:
                config["learning_rate_multipliers"] = (
                    self.learning_rate_multipliers.get_config()
                )
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """The inverse of `get_compile_config`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step: forward, exchange, backward, exchange, commit."""
        logs, _ = self._take_step(data)
        return logs

    def _take_step(
        self,
        data: Any,
        body: RemoteBody | None = None,
        commit: Callable[[Step, "ClientModel"], None] = Step.commit,
    ) -> tuple[dict[str, Any], CrossedStep | None]:
        """One step with a body, and what crossed to it and back.

        Args:
            data: As in `train_step`.
            body: Where it is; by default the strategy is asked.
            commit: Updates head and tail.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        head_inputs, tail_inputs = self.wiring.sort(x)
        microbatches = self.strategy.microbatches
        # Metrics are of the true ones; they stay here.
        answers = drawn_labels(self, head_inputs, tail_inputs, y, sample_weight)
        if self.tail is None:
            step = self._half.train_labeled(
                head_inputs,
                self,
                *self.wiring.label(
                    answers, sample_weight, keras_private.loss_given(self)
                ),
            )
        elif microbatches > 1:
            step = self._half.train_in_microbatches(
                head_inputs,
                tail_inputs,
                self,
                lambda outputs, cut: self.compute_loss(
                    cut(x),
                    cut(answers),
                    self.wiring.pack(outputs),
                    cut(sample_weight),
                    training=True,
                ),
                microbatches,
            )
        else:
            step = self._half.train(
                head_inputs,
                tail_inputs,
                self,
                lambda outputs: self.compute_loss(
                    x,
                    answers,
                    self.wiring.pack(outputs),
                    sample_weight,
                    training=True,
                ),
                body,
            )
        commit(step, self)
        self._log_loss(step.loss, x)
        outputs = self.wiring.pack(step.outputs)
        if len(step.outputs) > 1 and (self.tail is None or microbatches > 1):
            # The loss came in one number; this logs that of each output.
            self.compute_loss(x, answers, outputs, sample_weight, training=True)
        keras_private.build_metrics(self, y, outputs)
        logs: dict[str, Any] = self.compute_metrics(
            x, y, outputs, sample_weight
        )
        return logs, step.crossed

    def test_step(self, data: Any) -> dict[str, Any]:
        """One batch of `evaluate`; the logged loss is the whole model's."""
        logs: dict[str, Any] = self._score(data)
        return logs

    def _score(self, data: Any, body: RemoteBody | None = None) -> Any:
        """The same with a body; by default the strategy is asked."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        flat, penalty = self._half.infer(*self.wiring.sort(x), body)
        outputs = self.wiring.pack(flat)
        loss = self.compute_loss(x, y, outputs, sample_weight, training=False)
        self._log_loss(tf.cast(loss, tf.float32) + penalty, x)
        keras_private.build_metrics(self, y, outputs)
        return self.compute_metrics(x, y, outputs, sample_weight)

    def get_metrics_result(self) -> dict[str, Any]:
        """Keras', also before a phone has given its first examples."""
        return functions.metrics_result(self, super().get_metrics_result)

    def make_train_function(self, force: bool = False) -> Any:
        """Keras' function, with our errors instead of TensorFlow's.

        With the server in this process it is one graph of both halves, made
        again when the server's part of it is another one.
        """
        # A training in a cohort that failed has left its own.
        self.train_function: Any = functions.plain(
            getattr(self, "train_function", None)
        )
        self._server_link.refresh(anew=self.train_function is None)
        self.connect()
        uncounted.begin(self)
        changed = self._server_link.bind(self._joins)
        if self.train_function is None or force or changed:
            # Variables made inside a graph are lost if its first run fails.
            if self.optimizer is not None and not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)
            body = self._server_link.in_graph_body
            if body is not None:
                plain = by_length.joining(self, body)
            else:
                plain = functions.waiting(by_length.of_keras(self, "train"))
            self.train_function = functions.guarded(self, plain, log=True)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """Keras' function, with our errors instead of TensorFlow's."""
        self.connect()
        self.strategy.session.connection.tell_apart()
        if getattr(self, "test_function", None) is None or force:
            plain = functions.waiting(by_length.of_keras(self, "test"))
            self.test_function: Any = functions.guarded(self, plain, log=True)
        return self.test_function

    def make_predict_function(self, force: bool = False) -> Any:
        """Keras' function, with our errors instead of TensorFlow's."""
        self.connect()
        self.strategy.session.connection.tell_apart()
        if getattr(self, "predict_function", None) is None or force:
            plain = functions.waiting(by_length.of_keras(self, "predict"))
            self.predict_function: Any = functions.guarded(self, plain)
        return self.predict_function

    # -- the server --------------------------------------------------------

    def connect(self) -> None:
        """Opens a session with the server, unless one is open.

        Raises:
            TransportError: If the server is not there, or if TensorFlow has
                only one thread for client and server.
            RefusedError: If it was cut from another model, or otherwise.
            ProtocolError: If the strategy has microbatches, and the model is
                cut once.
            OptionError: If it reuses what was sent, and the head changes.
        """
        check_microbatches(self)
        check_reuse(self)
        if not self.strategy.connected:
            if self.strategy.local:
                tf_threads.check_room()
            self.strategy.connect(
                self.contract,
                self._server_link.describe(self),
                describe_loss(self) if self.tail is None else "",
                self._server_link.in_process(),
                self.data_spec.digest,
            )

    def close(self) -> None:
        """Ends the session."""
        self.strategy.close()

    def export(
        self,
        filepath: Any,
        format: str = "litert",
        *,
        mode: str = "train",
        batch_size: int | None = None,
        sequence_length: int | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Writes this half as a LiteRT file, and `client.json` beside it.

        Args:
            filepath: Where to write; ends in `.tflite`.
            format: `"litert"`; the half of a model is of no use elsewhere.
            mode: `"train"` for a file with which a phone trains (see
                `keras_split.litert.export_training` for more options), or
                `"infer"` for a smaller one that only predicts (see
                `keras_split.litert.export_inference`).
            batch_size: Rows of every tensor in the file: 8 to train, 1 to
                predict, unless given.
            sequence_length: Which of several lengths the file is of, for a
                client that was compiled with lengths.
            **options: As in those functions.

        Returns:
            The content of `client.json`.

        Raises:
            ExportError: If the half cannot be exported; nothing is written.
        """
        if format not in ("litert", "tflite") or mode not in ("train", "infer"):
            raise ExportError(
                'Expected format="litert" and mode="train" or "infer". '
                f"Received: format={format!r}, mode={mode!r}. Save the half "
                "for Keras with client.save('client.keras')."
            )
        from keras_split import litert

        export: Callable[..., dict[str, Any]] = litert.export_training
        if mode == "infer":
            export = litert.export_inference
        options["batch_size"] = batch_size or (8 if mode == "train" else 1)
        client = of_length(self, sequence_length)
        return export(client, filepath, **options)

    # -- a saved model -----------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Head, tail, contract, wiring and defenses, with their seed."""
        tail = self.tail
        config = {
            "name": self.name,
            "head": serialized(self.head),
            "tail": serialized(tail) if tail is not None else None,
            "contract": self.contract.get_config(),
            "wiring": self.wiring.get_config(),
            "shared": shared_layers.names(self.head, tail),
        }
        if self.defenses:
            config["defenses"] = self.defenses.get_config()
        if self.moment:
            config["moment"] = self.moment.get_config()
        if self.data_spec != DataSpec():
            config["data_spec"] = self.data_spec.get_config()
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "ClientModel":
        """The inverse of `get_config`."""
        config = dict(config)
        for part in ("head", "tail"):
            if config[part] is not None:
                config[part] = keras.saving.deserialize_keras_object(
                    config[part], custom_objects
                )
        shared = config.pop("shared", [])
        if shared:
            config["tail"] = shared_layers.joined(
                config["head"], config["tail"], shared
            )
        return cls(**config)

    # -- helpers -----------------------------------------------------------

    def _log_loss(self, loss: tf.Tensor, x: Any) -> None:
        given = [t for t in keras.tree.flatten(x) if t is not None]
        batch = tf.shape(given[0])[0]
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=batch)

    @property
    def _joins(self) -> bool:
        """Whether a step may be one graph with that of the server."""
        alone = self.distribute_strategy.num_replicas_in_sync == 1
        ours = type(self).train_step is ClientModel.train_step
        whole = self.run_eagerly or self.tail is None
        return alone and ours and not whole
