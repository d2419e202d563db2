"""The body as a part of its client's graph, where both are in one process."""

import contextlib
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

import tensorflow as tf

from keras_split.errors import PartialCommitError
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.partition import lookups
from keras_split.protocol import gradient_norm
from keras_split.protocol import validation
from keras_split.protocol.optimizer_config import LEARNING_RATE
from keras_split.training.body_codecs import infer
from keras_split.training.graph_checks import check
from keras_split.training.graph_checks import failed
from keras_split.training.graph_checks import finite_gradients
from keras_split.training.input_checks import OF_INPUTS
from keras_split.training.input_checks import check_looked_up
from keras_split.training.input_checks import looked_up
from keras_split.training.known_batch import KnownBatch
from keras_split.training.step_graph import CutCodecs
from keras_split.training.step_graph import ForwardPass
from keras_split.training.step_graph import StepGraph


@dataclass(frozen=True)
class InGraphBody:
    """A body that takes its steps inside the graph of its client's steps.

    Nothing leaves TensorFlow in the middle of such a step: what would be
    messages are tensors, quantized and dequantized as on a network. What the
    two parties would check between messages, the graph checks. The numbers
    are those of the step over a network, bit for bit.

    Attributes:
        graph: The body under the session's optimizer.
        max_grad_norm: Gradients of the features above it are refused.
        max_smashed_norm: And smashed data above this.
        own_learning_rate: Whether its optimizer keeps its own.
        batch: What it knows of the size of the batch that is traced now;
            None for nothing.
        known_batch: What it would know of a batch, in a graph of its own.
        of_length: What crosses for sequences of each of several lengths.
    """

    graph: StepGraph
    max_grad_norm: float
    max_smashed_norm: float
    own_learning_rate: bool = False
    batch: int | None = None
    known_batch: KnownBatch = field(default_factory=KnownBatch)
    of_length: Mapping[int, CutCodecs] = field(default_factory=dict)

    def at(self, length: int) -> "InGraphBody":
        """The same body, for sequences of one of several lengths."""
        return replace(
            self,
            graph=self.graph.across(self.of_length[length]),
            known_batch=KnownBatch(),
        )

    def forward(
        self, parts: list[tf.Tensor], smashed_grad: bool = True
    ) -> "InGraphForward":
        """See `RemoteBody`."""
        graph = self.graph if smashed_grad else self.graph.for_frozen_head
        codec = graph.cut_codecs.features
        passed = graph.begin(apart(self._looked_up(parts), self.batch))
        features = apart(codec.quantize(passed.features), None)
        finite = _finite(passed.smashed)
        norm = tf.sqrt(_squares(passed.smashed, self.max_smashed_norm))
        checks = [
            check(finite, "smashed data"),
            check((norm <= 1.0) | ~finite, "smashed norm", norm),
            check(_finite(codec.dequantize(features)), "features"),
        ]
        return InGraphForward(self, graph, passed, features, checks)

    def infer(self, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        """Penalty, and parts of the features, in inference mode."""
        codecs = self.graph.cut_codecs
        parts = apart(self._looked_up(parts), None)
        penalty, *features = infer(self.graph.body, codecs, parts)
        features = apart(features, None)
        checks = [
            check(_finite(codecs.smashed.dequantize(parts)), "smashed data"),
            check(_finite(codecs.features.dequantize(features)), "features"),
        ]
        with tf.control_dependencies(checks):
            return [tf.identity(part) for part in (penalty, *features)]

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Raises what the two parties would have, not TensorFlow's report."""
        try:
            with finite_gradients():
                yield
        except ProtocolError as error:
            raise RefusedError(str(error), error.reason) from error
        except tf.errors.InvalidArgumentError as error:
            what, number = failed(error)
            # The phone tells of its own.
            if not what or what.startswith(OF_INPUTS):
                raise
            try:
                self._complain(what, number)
            except ProtocolError as ours:
                raise ours from error

    def _looked_up(self, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        shared = self.graph.cut_codecs.smashed.shared
        return looked_up(shared, self._rows, parts)

    @property
    def _rows(self) -> tuple[int | None, ...]:
        specs = self.graph.cut_codecs.smashed.shared.specs
        return lookups.rows(self.graph.body, specs)

    def _complain(self, what: str, number: float) -> None:
        specs = self.graph.cut_codecs.smashed.shared.specs
        _refuse(check_looked_up, what, number, specs, self._rows)
        if what == "features":
            error = validation.diverged("the features")
            raise RefusedError(str(error), error.reason)
        if what == "norm":
            limit = self.max_grad_norm
            _refuse(gradient_norm.check_norm, number * limit, limit)
        if what == "smashed norm":
            limit = self.max_smashed_norm
            _refuse(validation.check_smashed_norm, number * limit, limit)
        if what == "rate":
            _refuse(validation.check_learning_rate, number)
        error = validation.not_finite(what)
        if what == "phone":
            error = validation.not_finite("step of the phone's half")
            raise PartialCommitError(str(error), error.reason)
        raise error


@dataclass(frozen=True)
class InGraphForward:
    """See `keras_split.training.remote_body.BodyForward`.

    Attributes:
        body: Is in the middle of a step.
        graph: The body's step.
        passed: The step's first half.
        parts: Of the features.
        checks: What its second half waits for.
    """

    body: InGraphBody
    graph: StepGraph
    passed: ForwardPass
    parts: list[tf.Tensor]
    checks: list[Any]

    @property
    def penalty(self) -> tf.Tensor:
        """The body's regularization loss, shape `()`."""
        return self.passed.penalty

    def backward(
        self, rate: tf.Tensor, loss: tf.Tensor, parts: list[tf.Tensor]
    ) -> "InGraphBackward":
        """See `BodyForward`."""
        graph = self.graph
        cut_codecs = graph.cut_codecs
        grads = cut_codecs.features_grad.dequantize(
            apart(parts, None), cut_codecs.features.positions(self.parts)
        )
        finite = _finite(grads)
        norm = tf.sqrt(_squares(grads, self.body.max_grad_norm))
        sent = graph.goes_back  # what is not sent, no server looks at
        checks = [
            *self.checks,
            check(tf.reduce_all(tf.math.is_finite(loss)), "loss"),
            check(finite, "features_grad"),
            *([check((norm <= 1.0) | ~finite, "norm", norm)] if sent else []),
            check((rate >= 0) & (rate <= LEARNING_RATE.high), "rate", rate),
        ]
        operations = tf.compat.v1.get_default_graph().get_operations
        before = len(operations())
        if not self.body.own_learning_rate:
            with tf.control_dependencies(checks):
                graph.optimizer.learning_rate = rate
        scale = tf.cast(graph.optimizer.scale_loss(tf.ones(())), tf.float32)
        made = graph.finish(self.passed, grads, scale, checks)
        changes = [
            operation
            for operation in operations()[before:]
            if operation.op_def.is_stateful
        ]
        return InGraphBackward(apart(made, None) if made else [], changes)


@dataclass(frozen=True)
class InGraphBackward:
    """See `keras_split.training.remote_body.BodyBackward`.

    Attributes:
        parts: Of the gradients of the smashed data.
        changes: The operations that commit the body's step.
    """

    parts: list[tf.Tensor]
    changes: list[tf.Operation]

    def commit(self, number: tf.Tensor) -> Any:
        """See `BodyBackward`."""
        # A check that fails ends the graph at once, and the body must have
        # taken its step or not, but not half of it.
        with tf.control_dependencies([*self.parts, *self.changes]):
            return check(tf.math.is_finite(number), "phone")


def _refuse(judge: Any, *values: Any) -> None:
    """What the server would answer where `judge` raises."""
    try:
        judge(*values)
    except ProtocolError as error:
        raise RefusedError(str(error), error.reason) from error


def apart(tensors: Sequence[tf.Tensor], batch: int | None) -> list[tf.Tensor]:
    """The same tensors, where no graph optimizer looks across the boundary.

    It looks through identities and placeholders; not into an Optional. One
    that knows a batch on the other side divides by it as a product with the
    reciprocal, which has other bits.

    Args:
        tensors: Shape `(batch, ...)`.
        batch: What the other side of the boundary knows of the batch.
    """
    shapes = []
    for tensor in tensors:
        first = tensor.shape[0]
        if batch is None:
            first = None
        elif first is None:  # otherwise maybe scales, a row for each channel
            first = batch
        shapes.append([first, *tensor.shape[1:]])
    made: list[tf.Tensor] = tf.raw_ops.OptionalGetValue(
        optional=tf.raw_ops.OptionalFromValue(components=list(tensors)),
        output_types=[tensor.dtype for tensor in tensors],
        output_shapes=shapes,
    )
    return made


def _finite(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether every number is; so small a sum does not overflow."""
    return tf.math.is_finite(
        tf.add_n(
            [
                tf.reduce_sum(tf.cast(tensor, tf.float32) * 2.0**-64)
                for tensor in tensors
            ]
        )
    )


def _squares(tensors: Sequence[tf.Tensor], unit: float) -> tf.Tensor:
    return tf.add_n(
        [
            tf.reduce_sum(tf.square(tf.cast(tensor, tf.float32) / unit))
            for tensor in tensors
        ]
    )
