"""The server's half: runs the body and keeps its residuals between passes.

Between its forward and its backward a step is in flight: its graph
(`step_graph`) waits in the middle, with all residuals in place. When as many
wait as memory is meant for (`in_flight`), the next runs forward only, and
is computed anew from its smashed data when its gradients come.
"""

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.compression.tensors import CutTensor
from keras_split.partition import lookups
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.timeline import Timeline
from keras_split.training.body_codecs import codecs_of
from keras_split.training.body_codecs import cut_codecs
from keras_split.training.body_codecs import infer_function
from keras_split.training.body_copy import body_copy
from keras_split.training.body_optimizer import BodyOptimizer
from keras_split.training.body_optimizers import BodyOptimizers
from keras_split.training.graph_checks import finite_gradients
from keras_split.training.in_flight import ANYONE
from keras_split.training.in_flight import MAX_IN_FLIGHT
from keras_split.training.in_flight import Holder
from keras_split.training.in_flight import StepInFlight
from keras_split.training.in_flight import StepsInFlight
from keras_split.training.microbatch_graph import MicrobatchGraph
from keras_split.training.server_merged import ServerMerged
from keras_split.training.server_microbatches import ServerMicrobatches
from keras_split.training.server_microbatches import Unfinished

Early = Callable[[list[CutTensor]], None]
Merges = Callable[..., ServerMerged]
_NEW = Timeline()
_HALVES: "weakref.WeakSet[ServerHalf]" = weakref.WeakSet()


@atexit.register
def _abandon_everything() -> None:
    """Ends waiting graphs, for TensorFlow joins their threads at exit."""
    for half in _HALVES:
        half.abandon_all()


# A forked child has none of the threads, and would wait for their locks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_HALVES.clear)


class ServerHalf:
    """Runs one body for any number of sessions.

    Every method takes and gives NumPy tensors and may be called from any
    thread; one lock keeps steps of different sessions apart.

    Args:
        body: The body as a functional model.
        contract: What it was cut with.
        max_in_flight: How many steps may wait between their forward and
            their backward, with what their backward needs in memory. Others
            go forward twice.
        timeline: Through which moments the body has come.

    Attributes:
        body: The same.
        contract: The same.
        cut_codecs: What crosses, to and from wire parts; of the longest
            sequences where they have several lengths.
        of_length: The same for each of those lengths.
        in_flight: The steps that wait.
        optimizers: What updates it.
        unfinished: The steps in microbatches that have sums of gradients.
        data: What the body is trained with, as far as it is known.
        rows: Of the tables in which it looks up shared inputs.
        lock: Held while the body computes or is read.
        timeline: Through which moments the body has come. Whoever has it
            take a step, or brings back other weights, says so here, while it
            holds the lock.
        merges: Makes steps of several phones; `ServerMerged` computes them
            here.
        joins: Whether a client in this process may take steps in one graph
            with the body, with no messages.
    """

    joins = True

    def __init__(
        self,
        body: keras.Model,
        contract: Contract,
        max_in_flight: int = MAX_IN_FLIGHT,
        timeline: Timeline = _NEW,
    ) -> None:
        self.body = body
        self.contract = contract
        self.timeline = timeline
        self.lock = threading.RLock()
        self.cut_codecs = cut_codecs(body, contract)
        self.of_length = {
            length: cut_codecs(body, contract.at(length))
            for length in contract.lengths[:-1]
        } | {length: self.cut_codecs for length in contract.lengths[-1:]}
        self.in_flight = StepsInFlight(max_in_flight)
        self.optimizers = BodyOptimizers(
            body,
            lambda optimizer, loss_model: MicrobatchGraph(
                body,
                self.cut_codecs,
                optimizer,
                self.in_flight,
                loss_model,
                fused_batchnorm=contract.fused_batchnorm,
            ),
        )
        self.unfinished = Unfinished(2 * self.in_flight.limit)
        self.data = DataDigest()
        self.rows = lookups.rows(body, contract.shared)
        self.merges: Merges = ServerMerged
        self.retrace()
        _HALVES.add(self)

    def copy(self) -> "ServerHalf":
        """A half with a copy of the body: the same values, nothing shared.

        Raises:
            SplitError: If its layers cannot be made again from their configs.
        """
        with self.lock:
            made = ServerHalf(
                body_copy(self.body),
                self.contract,
                self.in_flight.limit,
                self.timeline.copy(),
            )
            made.optimizers.know_those_of(self.optimizers)
            return made

    def retrace(self) -> None:
        """Forgets compiled graphs, when layers were frozen or thawed."""
        self._trained = [id(v) for v in self.body.trainable_variables]
        self.optimizers.forget()
        self._infer = {
            codecs: infer_function(self.body, codecs)
            for codecs in {self.cut_codecs, *self.of_length.values()}
        }

    @property
    def frozen(self) -> bool:
        """Whether the body has no weights to train."""
        return not self._trained

    @property
    def stale(self) -> bool:
        """Whether layers were frozen or thawed since graphs were made."""
        return self._trained != [id(v) for v in self.body.trainable_variables]

    def refresh(self) -> None:
        """Retraces if the set of trainable variables has changed."""
        with self.lock:
            if self.stale:
                self.abandon_all()
                self.retrace()

    # -- the steps ---------------------------------------------------------

    def forward(
        self,
        smashed: Sequence[CutTensor],
        optimizer: BodyOptimizer,
        *,
        early: bool = False,
        smashed_grad: bool = True,
        holder: Holder = ANYONE,
        waits: bool = True,
    ) -> tuple[list[CutTensor], float, StepInFlight | None]:
        """Runs the body forward in training mode and changes nothing.

        Args:
            smashed: The head's outputs.
            optimizer: Will update the weights.
            early: Whether the gradients are to come before the update.
            smashed_grad: Whether there are to be any of the smashed data.
            holder: Whose step it is.
            waits: Whether it may wait for its gradients; else it is computed
                anew when they come.

        Returns:
            The features, the body's regularization loss, and the step, which
            waits for its gradients; None if it found no place.
        """
        with self.lock:
            step = None
            codecs = codecs_of(self, smashed)
            graph = optimizer.graph_for(smashed_grad).across(codecs)
            examples = smashed[0].shape[0]
            if waits and self.in_flight.make_room(examples, holder):
                step = self._start(graph, smashed, early=early)
                penalty, *parts = step.features.result()
                self.in_flight.keep(step, examples, holder)
            else:
                # A graph that ends, not one that waits and is given up: each
                # that fails costs a kilobyte of TensorFlow 2.21 for good.
                forward = optimizer.graph.across(codecs).run_forward
                made = forward(*self.parts(smashed))
                penalty, *parts = [part.numpy() for part in made]
            return codecs.features.wrap(parts), float(penalty), step

    def backward(
        self,
        waiting: StepInFlight | None,
        smashed: Sequence[CutTensor],
        features_grad: Sequence[CutTensor],
        optimizer: BodyOptimizer,
        learning_rate: float,
        early: Early | None = None,
        *,
        smashed_grad: bool = True,
    ) -> list[CutTensor]:
        """Runs the body backward, updates its weights and statistics.

        Args:
            waiting: The step as its forward left it, if it found a place.
            smashed: The step's input again, from which the residuals are
                rebuilt when they are gone.
            features_grad: Gradients of the loss by the features; none are
                read where nothing is trained.
            optimizer: Updates the weights; the one of the forward.
            learning_rate: Of this step.
            early: Is given what is returned here before the weights are
                updated. It may still come to nothing then.
            smashed_grad: As for its forward.

        Returns:
            Gradients of the loss by the smashed data, if there are to be any.

        Raises:
            ProtocolError: If a gradient is not finite; nothing has changed.
        """
        with self.lock:
            scale = np.float32(optimizer.enter(learning_rate))
            codecs = codecs_of(self, smashed)
            graph = optimizer.graph_for(smashed_grad).across(codecs)
            given = [scale, *graph.unwrapped(features_grad)]
            step = self.in_flight.take(waiting)
            if step is None:
                step = self._start(
                    graph, smashed, given, early=early is not None
                )
            else:
                step.give(given)
            with finite_gradients():
                if step.early:
                    out = step.smashed_grad.result()
                else:
                    out = [part.numpy() for part in step.result.result()]
                made = codecs.smashed_grad.wrap(out)
                if early is not None:
                    early(made)
                step.result.result()
            return made

    def microbatches(
        self,
        optimizer: BodyOptimizer,
        holder: Holder = ANYONE,
        *,
        smashed_grad: bool = True,
    ) -> ServerMicrobatches:
        """A step of somebody whose batch travels in microbatches."""
        return ServerMicrobatches(
            self, optimizer, holder, smashed_grad=smashed_grad
        )

    def merged(
        self,
        smashed: Sequence[Sequence[CutTensor]],
        optimizer: BodyOptimizer,
        *,
        smashed_grad: bool = True,
    ) -> ServerMerged:
        """A step over the smashed data of several phones."""
        return self.merges(self, optimizer, smashed, smashed_grad=smashed_grad)

    def labeled_step(
        self,
        smashed: Sequence[CutTensor],
        labels: Sequence[CutTensor],
        sample_weights: Sequence[CutTensor],
        optimizer: BodyOptimizer,
        learning_rate: float,
        *,
        smashed_grad: bool = True,
    ) -> tuple[float, list[CutTensor], list[CutTensor]]:
        """One whole step of a model that is cut once: the loss is here.

        Returns:
            Loss, predictions, and gradients of the smashed data, unless there
            are to be none.

        Raises:
            ProtocolError: If a gradient is not finite; nothing has changed.
        """
        with self.lock:
            scale = tf.constant(np.float32(optimizer.enter(learning_rate)))
            inputs = (
                self.parts(smashed),
                [tf.convert_to_tensor(t.codes) for t in labels],
                [tf.convert_to_tensor(t.codes) for t in sample_weights],
            )
            with finite_gradients():
                codecs = codecs_of(self, smashed)
                graph = optimizer.graph_for(smashed_grad).across(codecs)
                loss, made, out = graph.run_labeled(*inputs, scale)
            return (
                float(loss),
                codecs.features.wrap([p.numpy() for p in made]),
                codecs.smashed_grad.wrap([p.numpy() for p in out]),
            )

    def infer(
        self, smashed: Sequence[CutTensor]
    ) -> tuple[list[CutTensor], float]:
        """Features in inference mode, and the regularization loss."""
        with self.lock:
            codecs = codecs_of(self, smashed)
            penalty, *made = self._infer[codecs](*self.parts(smashed))
            made = [part.numpy() for part in made]
            return codecs.features.wrap(made), float(penalty)

    def parts(self, smashed: Sequence[CutTensor]) -> list[tf.Tensor]:
        """Parts of the smashed data, as a graph takes them."""
        unwrapped = self.cut_codecs.smashed.unwrap(smashed)
        return [tf.convert_to_tensor(part) for part in unwrapped]

    def abandon(self, waiting: StepInFlight | None) -> None:
        """Drops the residuals of a step."""
        with self.lock:
            self.in_flight.abandon(waiting)

    def abandon_all(self) -> None:
        """Drops the residuals of every step."""
        with self.lock:
            self.in_flight.abandon_all()

    def _start(
        self,
        graph: MicrobatchGraph,
        smashed: Sequence[CutTensor],
        gradients: list[Any] | None = None,
        *,
        early: bool = False,
    ) -> StepInFlight:
        """Starts a step's graph; with gradients at hand it never waits."""
        parts = self.parts(smashed)
        run = graph.run_early if early else graph.run
        return self.in_flight.start(
            lambda step_handle: run(step_handle, *parts),
            graph.gradient_dtypes,
            gradients,
            early=early,
        )

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
        """An optimizer for a session, from the configs in its `Hello`.

        Raises:
            ProtocolError: With reason `"optimizer"` or `"loss"`, if they say
                what a client may not ask for.
        """
        with self.lock:
            return self.optimizers.of_client(config, loss)

    def adopt(
        self,
        optimizer: keras.optimizers.Optimizer | BodyOptimizer,
        own_learning_rate: bool = False,
    ) -> BodyOptimizer:
        """The server's own optimizer, for every session.

        Args:
            optimizer: It; or that of another half of the same body, which is
                copied with its slots.
            own_learning_rate: Whether it keeps its own, whatever clients say.

        Raises:
            OptionError: If it has several learning rates, or averages
                weights, or was built for others than those of the body.
        """
        with self.lock:
            return self.optimizers.adopt(optimizer, own_learning_rate)
