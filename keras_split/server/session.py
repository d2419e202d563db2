"""One client's run with one server, seen from the server."""

import contextlib
import logging
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

from keras_split.compression.tensors import CutTensor
from keras_split.errors import PartialCommitError
from keras_split.errors import ProtocolError
from keras_split.protocol import validation
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import LabeledResult
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Microbatch
from keras_split.protocol.messages import Release
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import SnapshotTaken
from keras_split.server import microbatches
from keras_split.server.guards import GradientLimits
from keras_split.server.guards import Guard
from keras_split.server.microbatches import Microbatches
from keras_split.server.session_state import SessionState
from keras_split.server.storage.snapshots import Snapshots

if TYPE_CHECKING:
    from keras_split.training.body_optimizer import BodyOptimizer
    from keras_split.training.server_step import ServerHalf
    from keras_split.training.step_graph import StepGraph

_LOG = logging.getLogger("keras_split.server")
Early = Callable[[Message], None]


class Session:
    """Follows the steps of one client.

    A forward changes nothing and may be repeated. A backward commits its
    step once; repeated, it returns the stored reply. Everything is checked
    before the body sees it.

    Args:
        start: A new session has a name, a client and configs; one that comes
            back has the rest.
        half: The body.
        optimizer: Updates the body for this client.
        snapshots: Where copies of the body are kept.
        limits: What it accepts.

    Attributes:
        name: Its name, chosen by the server.
        client: Whose it is.
        next_step: The first step that was not taken yet.
        compute_s: What the step took so far, forward and backward.
    """

    def __init__(
        self,
        start: SessionState,
        half: "ServerHalf",
        optimizer: "BodyOptimizer",
        snapshots: Snapshots,
        limits: GradientLimits | None = None,
    ) -> None:
        self.name = start.name
        self.client = start.client
        self.next_step = start.next_step
        self.compute_s = 0.0
        self._start = start
        self._limits = limits or GradientLimits()
        self._half = half
        self._intake = Guard(half, self._limits)
        self._contract = half.contract
        self._optimizer = optimizer
        self._snapshots = snapshots
        self._smashed: list[CutTensor] = []
        self._smashed_step = -1
        self._resting = False
        self._microbatches: Microbatches | None = None
        self._last_replies = start.replies
        if start.slots:
            with half.lock:
                optimizer.set_weights(start.slots)

    @property
    def in_flight(self) -> bool:
        """Whether a forward waits for its backward, and its client is there."""
        begun = self._microbatches is not None
        whole = self._smashed_step == self.next_step
        return (begun or whole) and not self._resting

    def awaits(self, message: Message) -> bool:
        """Whether a message goes on with a step that is in flight."""
        begun = self._microbatches
        return (
            begun is not None
            and isinstance(message, Forward)
            and message.microbatch is not None
            and begun.belongs(message.step, message.microbatch)
        )

    def state(self) -> SessionState:
        """What outlives the server; the body's lock must be held."""
        slots = () if self._optimizer.lasting else self._optimizer.weights()
        return replace(
            self._start,
            next_step=self.next_step,
            replies=self._last_replies,
            slots=slots,
        )

    @property
    def graph(self) -> "StepGraph":
        """The body's step, for a client in this process that joins it."""
        return self._optimizer.graph

    @property
    def limits(self) -> GradientLimits:
        """What it accepts."""
        return self._limits

    @contextlib.contextmanager
    def joint_step(self) -> Iterator[None]:
        """Surrounds a step that runs in the graph of its client.

        It counts as taken unless it raises; if it raises a
        `PartialCommitError`, too.
        """
        with self._half.lock:
            self.rest()
            self._resting = False
            self._optimizer.take_over()
            began = time.perf_counter()
            taken = False
            try:
                yield
                taken = True
            except PartialCommitError:
                taken = True
                raise
            finally:
                self.compute_s = time.perf_counter() - began
                if taken:
                    self._committed([])

    def rest(self) -> None:
        """Frees what a step in flight holds; its backward brings it back."""
        self._resting = True
        self._half.abandon(self.name)
        self._drop_microbatches()  # their client sends all of them again

    def handle(self, message: Message, early: Early | None = None) -> Message:
        """Answers one message.

        Args:
            message: What came.
            early: Sends a reply that goes before the one that is returned;
                must not wait. None if its client can take one alone.

        Raises:
            ProtocolError: If the message is out of order or malformed.
        """
        self._resting = False
        if isinstance(message, Forward):
            return self._forward(message)
        if isinstance(message, Backward):
            return self._backward(message, early if message.early else None)
        if isinstance(message, Infer):
            self._intake.smashed(message.tensors)
            tensors, penalty = self._half.infer(message.tensors)
            return Features(-1, self._sound(tensors), penalty)
        if isinstance(message, LabeledStep):
            return self._labeled(message)
        if isinstance(message, Snapshot):
            return SnapshotTaken(self._take_snapshot())
        if isinstance(message, Restore):
            self._restore(message)
            return Done()
        if isinstance(message, Release):
            self._snapshots.release(message.tag)
            return Done()
        raise ProtocolError(
            "Expected a step, a snapshot or a goodbye. Received: "
            f"{type(message).__name__}.",
            "order",
        )

    def close(self) -> None:
        """Drops what is kept for a step that was never finished."""
        with self._half.lock:
            self._half.abandon(self.name)
            self._drop_microbatches()
            self._optimizer.leave()

    def _forward(self, message: Forward) -> Message:
        if self._contract.labels_on_server:
            raise ProtocolError(
                "Expected a labeled step, for this model is cut once. "
                "Received: a Forward.",
                "order",
            )
        self._expect(message.step)
        if message.microbatch is not None:
            return self._microbatch_forward(message, message.microbatch)
        self._intake.smashed(message.tensors)
        self._drop_microbatches()
        began = time.perf_counter()
        tensors, penalty = self._half.forward(
            self.name, message.tensors, self._optimizer, early=message.early
        )
        self.compute_s = time.perf_counter() - began
        self._smashed, self._smashed_step = message.tensors, message.step
        return Features(message.step, self._sound(tensors), penalty)

    def _backward(self, message: Backward, early: Early | None) -> Message:
        step = message.step
        if step == self.next_step - 1 and self._last_replies:
            given = self._given_again(message.microbatch)
            if early is None:
                return given
            early(given)
            return Committed(step)
        self._expect(message.step)
        if message.microbatch is not None:
            return self._microbatch_backward(message, message.microbatch)
        if self._smashed_step != message.step:
            raise ProtocolError(
                f"Expected the forward of step {message.step} first. "
                "Received: its backward. Send the smashed data again.",
                "order",
            )
        self._intake.features_grad(message, self._smashed[0].shape[0])
        began = time.perf_counter()
        tensors = self._half.backward(
            self.name,
            self._smashed,
            self._intake.clipped(message.tensors),
            self._optimizer,
            message.learning_rate,
            early and (lambda tensors: early(SmashedGrad(step, tensors))),
        )
        self.compute_s += time.perf_counter() - began
        reply = self._committed([SmashedGrad(step, tensors)])[-1]
        return reply if early is None else Committed(step)

    def _microbatch_forward(
        self, message: Forward, microbatch: Microbatch
    ) -> Message:
        microbatches.check(microbatch, self._limits.max_batch)
        if not self._goes_on(message.step, microbatch):
            self._drop_microbatches()
            self._half.abandon(self.name)
            self._smashed, self._smashed_step = [], -1
            self._microbatches = Microbatches(
                self.name, message.step, microbatch, self._half, self._optimizer
            )
            self.compute_s = 0.0
        begun = self._microbatches
        assert begun is not None
        with self._all_or_nothing():
            self._intake.smashed(message.tensors)
            reply = begun.forward(microbatch.index, message.tensors)
            self._sound(reply.tensors)
            return reply

    def _microbatch_backward(
        self, message: Backward, microbatch: Microbatch
    ) -> Message:
        microbatches.check(microbatch, self._limits.max_batch)
        begun = self._microbatches
        if begun is None or not self._goes_on(message.step, microbatch):
            raise ProtocolError(
                f"Expected the forwards of step {message.step} first. "
                "Received: a backward of a microbatch. Send all of them "
                "again.",
                "order",
            )
        index = microbatch.index
        if index < len(begun.replies):
            return begun.replies[index]
        with self._all_or_nothing():
            begun.check_backward(index)
            self._intake.features_grad(message, begun.examples(index))
            reply = begun.backward(
                index,
                self._intake.clipped(message.tensors, begun.share(index)),
                message.learning_rate,
            )
        if begun.done:
            self._microbatches = None
            self._committed(begun.replies)
        return reply

    def _goes_on(self, step: int, microbatch: Microbatch) -> bool:
        """Whether a microbatch belongs to the attempt that is in flight."""
        begun = self._microbatches
        if begun is None:
            return False
        if microbatch.attempt < begun.microbatch.attempt:
            raise ProtocolError(
                f"Expected attempt {begun.microbatch.attempt} at step {step}. "
                f"Received: a message of attempt {microbatch.attempt}, which "
                "its client has given up.",
                "order",
            )
        return begun.belongs(step, microbatch)

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Gives up the microbatches of a step if one is not answered."""
        began = time.perf_counter()
        try:
            yield
        except BaseException:
            self._drop_microbatches()
            raise
        self.compute_s += time.perf_counter() - began

    def _drop_microbatches(self) -> None:
        if self._microbatches is not None:
            self._microbatches.abandon()
        self._microbatches = None

    def _labeled(self, message: LabeledStep) -> Message:
        if not self._contract.labels_on_server:
            raise ProtocolError(
                "Expected no labels, for this model is cut twice and labels "
                "stay on the phone. Received: a LabeledStep.",
                "order",
            )
        if message.step == self.next_step - 1 and self._last_replies:
            return self._given_again(None)
        self._expect(message.step)
        batch = self._intake.smashed(message.tensors)
        validation.check_labels(
            [*message.labels, *message.sample_weights], batch
        )
        validation.check_learning_rate(message.learning_rate)
        began = time.perf_counter()
        loss, predictions, tensors = self._half.labeled_step(
            message.tensors,
            message.labels,
            message.sample_weights,
            self._optimizer,
            message.learning_rate,
        )
        self.compute_s = time.perf_counter() - began
        return self._committed(
            [LabeledResult(message.step, loss, predictions, tensors)]
        )[-1]

    def _committed(self, replies: Sequence[Message]) -> Sequence[Message]:
        self._smashed = []
        self.next_step += 1
        self._last_replies = replies
        return replies

    def _given_again(self, microbatch: Microbatch | None) -> Message:
        """A reply to the last step that was taken."""
        index = microbatch.index if microbatch else 0
        count = microbatch.count if microbatch else 1
        if count != len(self._last_replies) or index >= count:
            raise ProtocolError(
                f"Expected a message of a step of {len(self._last_replies)} "
                f"microbatches, which was taken. Received: {index} of {count}.",
                "order",
            )
        return self._last_replies[index]

    def _expect(self, step: int) -> None:
        if step != self.next_step:
            raise ProtocolError(
                f"Expected step {self.next_step}. Received: step {step}. "
                "Steps of a session are taken one after the other.",
                "order",
            )

    def _sound(self, features: list[CutTensor]) -> list[CutTensor]:
        rule = self._contract.quantization.activations
        for tensor in features:
            if not validation.is_finite(tensor, rule):
                self._half.abandon(self.name)
                raise validation.diverged(repr(tensor.name))
        return features

    def _take_snapshot(self) -> str:
        with self._half.lock:
            return self._snapshots.save(
                self._half.weights(), self._optimizer.weights()
            )

    def _restore(self, message: Restore) -> None:
        body, slots = self._snapshots.load(message.tag)
        with self._half.lock:
            if not _fit(body, self._half.body.variables):
                raise ProtocolError(
                    "Expected a snapshot of this body. Received: "
                    f"{message.tag!r}, of a body with other weights. Start "
                    "the server with a snapshot folder of its own.",
                    "snapshot",
                )
            if message.optimizer:
                if _fit(slots, self._optimizer.weights()):
                    self._optimizer.set_weights(slots)
                else:  # as Keras does when the optimizer is another one
                    _LOG.warning(
                        "snapshot %s was taken with another optimizer; only "
                        "the weights come back",
                        message.tag,
                    )
            self._half.set_weights(body)
            self._drop_microbatches()
        self._smashed_step = -1


def _fit(arrays: Sequence[Any], variables: Sequence[Any]) -> bool:
    return [a.shape for a in arrays] == [tuple(v.shape) for v in variables]
