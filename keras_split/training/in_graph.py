"""The body as a part of its client's graph, where both are in one process."""

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_split.errors import PartialCommitError
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol import gradient_norm
from keras_split.protocol import validation
from keras_split.training.graph_checks import check
from keras_split.training.graph_checks import failed
from keras_split.training.graph_checks import finite_gradients
from keras_split.training.step_graph import ForwardPass
from keras_split.training.step_graph import StepGraph


class InGraphBody:
    """Takes a session's steps inside the graph of its client's steps.

    Nothing leaves TensorFlow in the middle of such a step: what would be
    messages are tensors, quantized and dequantized as on a network. What the
    two parties would check between messages, the graph checks. The numbers
    are those of the step over a network, bit for bit.

    Args:
        graph: The body under the session's optimizer.
        max_grad_norm: Gradients of the features above it are refused.

    Attributes:
        graph: The same.
    """

    def __init__(self, graph: StepGraph, max_grad_norm: float) -> None:
        self.graph = graph
        self._max_grad_norm = max_grad_norm
        self._bytes = tf.Variable(tf.zeros((2,), tf.int64), trainable=False)
        self._counted = (0, 0)
        self._head_knows, self._body_knows = _Known(), _Known()
        # Of the step that is traced now: its batch if known, its first half,
        # what it sent so far and where, its checks and what its commit does.
        self._body_batch: int | None = None
        self._passed: ForwardPass
        self._sent: tuple[tf.Tensor, tf.Tensor]
        self._crossed: list[tf.Tensor | None] = []
        self._checks: list[Any] = []
        self._commit: list[tf.Operation] = []

    def known(self, data: Any, batch_varies: bool) -> tuple[Any, Any]:
        """What a step's graphs of head and tail, and of the body, would know.

        Args:
            data: Of a step, as `fit` takes it.
            batch_varies: Whether it comes from a dataset of batches that may
                differ in size.

        Returns:
            The size of the batch for both, None where it is not known.
        """
        batch = _tensors(data)[0].shape[0]
        return (
            self._head_knows(None if batch_varies else batch),
            self._body_knows(batch),
        )

    def prepare(self, data: Any, head_knows: Any, body_knows: Any) -> Any:
        """The data of a step that is traced now, as its graph sees it.

        A batch known is a number of which the reciprocal is known: a division
        by it becomes a product, with other bits. So head, tail and body must
        not know more here than in graphs of their own.
        """
        self._body_batch = body_knows
        hidden = iter(_apart(_tensors(data), head_knows))
        return keras.tree.map_structure(
            lambda t: next(hidden) if isinstance(t, tf.Tensor) else t,
            data,
        )

    def ask_forward(self, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        """Parts of the smashed data for the penalty, parts of the features."""
        cut_codecs = self.graph.cut_codecs
        passed = self._passed = self.graph.begin(
            _apart(parts, self._body_batch)
        )
        made = cut_codecs.features.quantize(passed.features)
        self._sent = _nbytes(parts), _nbytes(made)
        made = _apart(made, None)
        self._crossed = cut_codecs.features.positions(made)
        self._checks = [
            check(_finite(passed.smashed), "smashed data"),
            check(_finite(cut_codecs.features.dequantize(made)), "features"),
        ]
        return [passed.penalty, *made]

    def ask_backward(
        self, rate: tf.Tensor, loss: tf.Tensor, parts: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Parts of the features' gradients for those of the smashed data's."""
        graph = self.graph
        grads = graph.cut_codecs.features_grad.dequantize(
            _apart(parts, None), self._crossed
        )
        finite = _finite(grads)
        norm = tf.sqrt(_squares(grads, self._max_grad_norm))
        checks = [
            *self._checks,
            check(tf.reduce_all(tf.math.is_finite(loss)), "loss"),
            check(finite, "features_grad"),
            check((norm <= 1.0) | ~finite, "norm", norm),
            check(tf.math.is_finite(rate) & (rate >= 0), "rate", rate),
        ]
        operations = tf.compat.v1.get_default_graph().get_operations
        before = len(operations())
        with tf.control_dependencies(checks):
            graph.optimizer.learning_rate = rate
        scale = tf.cast(graph.optimizer.scale_loss(tf.ones(())), tf.float32)
        made = graph.finish(self._passed, grads, scale, checks)
        up, down = self._sent
        sent = tf.stack([up + _nbytes(parts), down + _nbytes(made)])
        with tf.control_dependencies(checks):
            self._bytes.assign_add(sent)
        self._commit = [
            made_here
            for made_here in operations()[before:]
            if made_here.op_def.is_stateful
        ]
        return _apart(made, None)

    def settle(self, number: tf.Tensor, received: Sequence[tf.Tensor]) -> Any:
        """What head and tail wait for: the body's commit, and their sum."""
        # A check that fails ends the graph at once, and the body must have
        # taken its step or not, but not half of it.
        with tf.control_dependencies([*received, *self._commit]):
            return check(tf.math.is_finite(number), "phone")

    def sent(self) -> tuple[int, int]:
        """Bytes that crossed since this was called last, up and down."""
        up, down = (int(count) for count in self._bytes.numpy())
        before, self._counted = self._counted, (up, down)
        return up - before[0], down - before[1]

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
            if not what:
                raise
            try:
                self._complain(what, number)
            except ProtocolError as ours:
                raise ours from error

    def _complain(self, what: str, number: float) -> None:
        if what == "features":
            error = validation.diverged("the features")
            raise RefusedError(str(error), error.reason)
        if what == "norm":
            limit = self._max_grad_norm
            _refuse(gradient_norm.check_norm, number * limit, limit)
        if what == "rate":
            _refuse(validation.check_learning_rate, number)
        error = validation.not_finite(what)
        if what == "phone":
            error = validation.not_finite("step of the phone's half")
            raise PartialCommitError(str(error), error.reason)
        raise error


class _Known:
    """The batch that a `tf.function` with `reduce_retracing` would know.

    It is traced for the first size that it sees, and then once more for any.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._any = False

    def __call__(self, batch: int | None) -> int | None:
        if self._first is None and not self._any:
            self._first = batch
        if batch != self._first or batch is None:
            self._any = True
            return None
        return batch


def _tensors(data: Any) -> list[tf.Tensor]:
    flat = keras.tree.flatten(data)
    return [tensor for tensor in flat if isinstance(tensor, tf.Tensor)]


def _refuse(judge: Any, *values: float) -> None:
    """What the server would answer where `judge` raises."""
    try:
        judge(*values)
    except ProtocolError as error:
        raise RefusedError(str(error), error.reason) from error


def _apart(tensors: Sequence[tf.Tensor], batch: int | None) -> list[tf.Tensor]:
    """The same tensors, where no graph optimizer looks across the boundary.

    It looks through identities and placeholders; not into an Optional.

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


def _nbytes(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n(
        [tf.size(part, tf.int64) * part.dtype.size for part in parts]
    )
