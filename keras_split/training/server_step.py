"""The server's half: runs the body and keeps its residuals between passes.

Between its forward and its backward a step is parked: its graph
(`step_graph`) waits in the middle, with all residuals in place. When as many
wait as memory is meant for (`in_flight`), the next runs forward only, and
is computed anew from its smashed data when its gradients come.
"""

import atexit
import contextlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.compression.cut_codec import CutCodec
from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.protocol.contract import Contract
from keras_split.training import body_optimizer
from keras_split.training import in_flight
from keras_split.training.body_optimizer import BodyOptimizer
from keras_split.training.body_optimizer import SharedStep
from keras_split.training.in_flight import StepInFlight
from keras_split.training.microbatch_graph import MicrobatchGraph
from keras_split.training.step_graph import CutCodecs
from keras_split.training.step_graph import failed

SeedState = list[tf.Tensor]
Early = Callable[[list[CutTensor]], None]
Sums = dict[str, tf.Tensor]
_MAX_OPTIMIZERS = 8
_HALVES: "weakref.WeakSet[ServerHalf]" = weakref.WeakSet()


@atexit.register
def _abandon_everything() -> None:
    """Ends waiting graphs, for TensorFlow joins their threads at exit."""
    for half in _HALVES:
        half.abandon_all()


class ServerHalf:
    """Runs one body for any number of sessions.

    Every method takes and gives NumPy tensors and may be called from any
    thread; one lock keeps steps of different sessions apart.

    Args:
        body: The body as a functional model.
        contract: What it was cut with.
    """

    def __init__(self, body: keras.Model, contract: Contract) -> None:
        rules = contract.quantization
        arrives = [t.dtype for t in body.inputs]
        leaves = [t.dtype for t in body.outputs]
        self.body = body
        self.contract = contract
        self.lock = threading.RLock()
        self._crossings = CutCodecs(
            CutCodec(contract.smashed, rules.activations, arrives),
            CutCodec(contract.features, rules.activations, leaves),
            CutCodec(contract.features, rules.gradients, leaves),
            CutCodec(contract.smashed, rules.gradients, arrives),
        )
        self._parking = in_flight.StepsInFlight()
        self._parked: OrderedDict[str, StepInFlight] = OrderedDict()
        self.retrace()
        _HALVES.add(self)

    def retrace(self) -> None:
        """Forgets compiled graphs, when layers were frozen or thawed."""
        self._trained = [id(v) for v in self.body.trainable_variables]
        self._steps: dict[tuple[str, str], SharedStep] = {}
        self._infer = tf.function(
            self._trace_infer,
            input_signature=self._crossings.smashed.part_specs,
            autograph=False,
        )

    def refresh(self) -> None:
        """Retraces if the set of trainable variables has changed."""
        with self.lock:
            if self._trained != [id(v) for v in self.body.trainable_variables]:
                self.abandon_all()
                self.retrace()

    # -- the steps ---------------------------------------------------------

    def forward(
        self,
        key: str,
        smashed: Sequence[CutTensor],
        optimizer: BodyOptimizer,
        *,
        early: bool = False,
    ) -> tuple[list[CutTensor], float]:
        """Runs the body forward in training mode and changes nothing.

        Args:
            key: Names the step; a repeated forward replaces the one before.
            smashed: The head's outputs.
            optimizer: Will update the weights.
            early: Whether the gradients are to come before the update.

        Returns:
            The features and the body's regularization loss.
        """
        with self.lock:
            self.abandon(key)
            if self._has_room():
                step = self._start(optimizer, smashed, early=early)
                penalty, *parts = step.features.result()
                self._parked[key] = step
            else:
                # A graph that ends, not one that waits and is given up: each
                # that fails costs a kilobyte of TensorFlow 2.21 for good.
                sent = self._crossings.smashed.unwrap(smashed)
                made = optimizer.graph.run_forward(
                    *map(tf.convert_to_tensor, sent)
                )
                penalty, *parts = [part.numpy() for part in made]
            return self._crossings.features.wrap(parts), float(penalty)

    def backward(
        self,
        key: str,
        smashed: Sequence[CutTensor],
        features_grad: Sequence[CutTensor],
        optimizer: BodyOptimizer,
        learning_rate: float,
        early: Early | None = None,
    ) -> list[CutTensor]:
        """Runs the body backward, updates its weights and statistics.

        Args:
            key: Names the step.
            smashed: The step's input again, from which the residuals are
                rebuilt when they are gone.
            features_grad: Gradients of the loss by the features.
            optimizer: Updates the weights; the one of the forward.
            learning_rate: Of this step.
            early: Is given what is returned here before the weights are
                updated. It may still come to nothing then.

        Returns:
            Gradients of the loss by the smashed data.

        Raises:
            ProtocolError: If a gradient is not finite; nothing has changed.
        """
        with self.lock:
            scale = np.float32(optimizer.enter(learning_rate))
            parts = self._crossings.features_grad.unwrap(features_grad)
            step = self._parked.pop(key, None)
            if step is None:
                step = self._start(
                    optimizer,
                    smashed,
                    [scale, *parts],
                    early=early is not None,
                )
            else:
                step.give([scale, *parts])
            with finite_gradients():
                if step.early:
                    out = step.smashed_grad.result()
                else:
                    out = [part.numpy() for part in step.result.result()]
                made = self._crossings.smashed_grad.wrap(out)
                if early is not None:
                    early(made)
                step.result.result()
            return made

    def microbatch_forward(
        self,
        key: str,
        smashed: Sequence[CutTensor],
        optimizer: BodyOptimizer,
        seed_state: SeedState | None,
    ) -> tuple[list[CutTensor], float, SeedState]:
        """Runs the body forward for a microbatch, and changes nothing.

        Args:
            key: Names the microbatch.
            smashed: The head's outputs for it.
            optimizer: Will update the weights.
            seed_state: Seeds and the like as the microbatch before left them;
                None for the first.

        Returns:
            The features, the body's regularization loss, and the seed state
            as this microbatch leaves them.
        """
        with self.lock:
            graph = optimizer.graph
            if seed_state is None:
                seed_state = graph.seed_state()
            if self._has_room():
                step = self._start_microbatch(optimizer, smashed, seed_state)
                penalty, *made = step.features.result()
                self._parked[key] = step
            else:
                parts = self._parts(smashed)
                out = graph.run_microbatch_forward(seed_state, parts)
                penalty, *made = [part.numpy() for part in out]
            count = len(seed_state)
            after = [tf.convert_to_tensor(value) for value in made[:count]]
            features = self._crossings.features.wrap(made[count:])
            return features, float(penalty), after

    def microbatch_backward(
        self,
        key: str,
        smashed: Sequence[CutTensor],
        features_grad: Sequence[CutTensor],
        optimizer: BodyOptimizer,
        learning_rate: float,
        seed_state: SeedState | None,
        share: float,
    ) -> tuple[list[CutTensor], Sums]:
        """Runs the body backward for a microbatch, and changes nothing.

        Args:
            key: Names the microbatch.
            smashed: Its input again.
            features_grad: Gradients of the loss by its features.
            optimizer: As in the forward.
            learning_rate: Of this step.
            seed_state: As in the forward.
            share: Its part of the examples of the batch.

        Returns:
            Gradients of the loss by the smashed data, and what it adds to
            the gradients of the weights and to the new statistics.

        Raises:
            ProtocolError: If a gradient is not finite.
        """
        with self.lock:
            scale = np.float32(optimizer.enter(learning_rate))
            parts = self._crossings.features_grad.unwrap(features_grad)
            given = [np.float32(share), scale, *parts]
            step = self._parked.pop(key, None)
            if step is None:
                if seed_state is None:
                    seed_state = optimizer.graph.seed_state()
                step = self._start_microbatch(
                    optimizer, smashed, seed_state, given
                )
            else:
                step.give(given)
            with finite_gradients():
                out, sums = step.result.result()
            made = self._crossings.smashed_grad.wrap([p.numpy() for p in out])
            return made, sums

    def commit_microbatches(
        self,
        optimizer: BodyOptimizer,
        sums: Sequence[Sums],
        seed_state: SeedState,
    ) -> None:
        """Updates weights and statistics once for all microbatches.

        Args:
            optimizer: Of the microbatches, whose last one was the last thing
                that happened to the body.
            sums: What is to be added up.
            seed_state: As the last one left them.

        Raises:
            ProtocolError: If a gradient is not finite; nothing has changed.
        """
        with self.lock, finite_gradients():
            optimizer.graph.commit(list(sums), seed_state)

    def add(self, optimizer: BodyOptimizer, one: Sums, other: Sums) -> Sums:
        """What two microbatches add up to."""
        with self.lock:
            made: Sums = optimizer.graph.add(one, other)
            return made

    def labeled_step(
        self,
        smashed: Sequence[CutTensor],
        labels: Sequence[CutTensor],
        sample_weights: Sequence[CutTensor],
        optimizer: BodyOptimizer,
        learning_rate: float,
    ) -> tuple[float, list[CutTensor], list[CutTensor]]:
        """One whole step of a model that is cut once: the loss is here.

        Returns:
            Loss, predictions, and gradients of the smashed data.

        Raises:
            ProtocolError: If a gradient is not finite; nothing has changed.
        """
        with self.lock:
            scale = tf.constant(np.float32(optimizer.enter(learning_rate)))
            inputs = [
                [tf.convert_to_tensor(part) for part in group]
                for group in (
                    self._crossings.smashed.unwrap(smashed),
                    [t.codes for t in labels],
                    [t.codes for t in sample_weights],
                )
            ]
            with finite_gradients():
                loss, made, out = optimizer.graph.run_labeled(*inputs, scale)
            cut_codecs = self._crossings
            return (
                float(loss),
                cut_codecs.features.wrap([p.numpy() for p in made]),
                cut_codecs.smashed_grad.wrap([p.numpy() for p in out]),
            )

    def infer(
        self, smashed: Sequence[CutTensor]
    ) -> tuple[list[CutTensor], float]:
        """Features in inference mode, and the regularization loss."""
        with self.lock:
            parts = self._crossings.smashed.unwrap(smashed)
            penalty, *made = self._infer(*map(tf.convert_to_tensor, parts))
            made = [part.numpy() for part in made]
            return self._crossings.features.wrap(made), float(penalty)

    def norm(self, features_grad: Sequence[CutTensor]) -> float:
        """The norm of all gradients of the features together."""
        arrays = self._crossings.features_grad.read(features_grad)
        squares = [np.sum(np.square(a, dtype=np.float64)) for a in arrays]
        return float(np.sqrt(np.sum(squares)))

    def _has_room(self) -> bool:
        """Whether one more step may wait."""
        waiting = sum(len(half._parked) for half in list(_HALVES))
        return waiting < in_flight.MAX_IN_FLIGHT

    def abandon(self, key: str) -> None:
        """Drops the residuals of a step."""
        with self.lock:
            step = self._parked.pop(key, None)
            if step is not None:
                step.abandon()

    def abandon_all(self) -> None:
        """Drops the residuals of every step."""
        for key in list(self._parked):
            self.abandon(key)

    # -- weights -----------------------------------------------------------

    def weights(self) -> list[np.ndarray[Any, Any]]:
        """A copy of every variable of the body."""
        with self.lock:
            return [np.array(v) for v in self.body.variables]

    def set_weights(self, values: Sequence[np.ndarray[Any, Any]]) -> None:
        """Puts a copy back."""
        with self.lock:
            self.abandon_all()
            for variable, value in zip(
                self.body.variables, values, strict=True
            ):
                variable.assign(value)

    def optimizer(self, config: str, loss: str = "") -> BodyOptimizer:
        """An optimizer for a session, from the JSON config in a `Hello`."""
        with self.lock:
            key = (body_optimizer.without_rate(config), loss)
            if key not in self._steps:
                self._check_graphs()
                optimizer = body_optimizer.from_json(config)
                self._steps[key] = self._share(optimizer, loss)
            return BodyOptimizer(self._steps[key])

    def adopt(self, optimizer: keras.optimizers.Optimizer) -> BodyOptimizer:
        """The server's own optimizer, for every session."""
        return BodyOptimizer(self._share(optimizer), lasting=True)

    # -- graphs ------------------------------------------------------------

    def _check_graphs(self) -> None:
        """Makes room for one more optimizer: each has a graph and slots."""
        for key, shared in list(self._steps.items()):
            if len(self._steps) >= _MAX_OPTIMIZERS and not shared.users:
                del self._steps[key]
        if len(self._steps) >= _MAX_OPTIMIZERS:
            raise ProtocolError(
                f"Expected at most {_MAX_OPTIMIZERS} different optimizers of "
                "clients at a time. Received: one more. Use one that others "
                "use, or start the server with its own: serve --optimizer.",
                "optimizer",
            )

    def _share(
        self, optimizer: keras.optimizers.Optimizer, loss: str = ""
    ) -> SharedStep:
        judge = body_optimizer.judge_from_json(loss) if loss else None
        graph = MicrobatchGraph(
            self.body,
            self._crossings,
            optimizer,
            self._parking,
            judge,
            fused_batchnorm=self.contract.fused_batchnorm,
        )
        return SharedStep(graph, optimizer)

    def _start(
        self,
        optimizer: BodyOptimizer,
        smashed: Sequence[CutTensor],
        gradients: list[Any] | None = None,
        *,
        early: bool = False,
    ) -> StepInFlight:
        """Starts a step's graph; with gradients at hand it never waits."""
        graph, parts = optimizer.graph, self._parts(smashed)
        run = graph.run_early if early else graph.run
        return self._parking.start(
            lambda step_handle: run(step_handle, *parts),
            graph.gradient_dtypes,
            gradients,
            early=early,
        )

    def _start_microbatch(
        self,
        optimizer: BodyOptimizer,
        smashed: Sequence[CutTensor],
        seed_state: SeedState,
        gradients: list[Any] | None = None,
    ) -> StepInFlight:
        """The same for a microbatch, whose graph commits nothing."""
        graph, parts = optimizer.graph, self._parts(smashed)
        return self._parking.start(
            lambda step_handle: graph.run_microbatch(
                step_handle, seed_state, parts
            ),
            [tf.float32, *graph.gradient_dtypes],
            gradients,
        )

    def _parts(self, smashed: Sequence[CutTensor]) -> list[tf.Tensor]:
        unwrapped = self._crossings.smashed.unwrap(smashed)
        return [tf.convert_to_tensor(part) for part in unwrapped]

    def _trace_infer(self, *parts: tf.Tensor) -> list[tf.Tensor]:
        smashed = self._crossings.smashed.dequantize(parts)
        features = keras.tree.flatten(self.body(smashed, training=False))
        penalty = tf.add_n(
            [tf.cast(x, tf.float32) for x in self.body.losses] or [0.0]
        )
        return [penalty, *self._crossings.features.quantize(features)]


@contextlib.contextmanager
def finite_gradients() -> Iterator[None]:
    """Says in our words that a step's graph found NaN or infinity."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if failed(error)[0] != "body":
            raise
        raise ProtocolError(
            "Expected finite gradients in the body. Received: NaN or "
            "infinity. The step was not taken; lower the learning rate, or "
            "look for a broken batch.",
            "not-finite",
        ) from error
