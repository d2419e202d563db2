"""The phone's half, for sequences of several lengths.

Each length has a half of its own, which has the weights in common with the
others: a batch is padded to the shortest length that holds it, so that what
crosses is no longer. Outputs that are sequences are cut to what they were
before the loss sees them, so labels and their weights stay as they are given.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_split.compression.cut import ClientCuts
from keras_split.errors import DataError
from keras_split.training.client_microbatches import ComputeLoss
from keras_split.training.client_microbatches import MicrobatchedHalf
from keras_split.training.client_step import Step
from keras_split.training.host_calls import HostCalls
from keras_split.training.input_checks import padded
from keras_split.training.input_checks import too_long
from keras_split.training.remote_body import RemoteBody
from keras_split.training.state_scope import Updates

Axes = Sequence[Sequence[int]]


class ClientLengths:
    """Stands for the half of the length that a batch is padded to.

    A graph that does not know the length of its batches takes the longest,
    unless it is traced within `at`.

    Args:
        halves: One for each length, the shortest first.
        head: For each input of the head, which axes are of sequences.
        tail: The same for raw inputs that the tail reads.
        outputs: The same for outputs of the model.

    Attributes:
        halves: The same.
    """

    def __init__(
        self,
        halves: Mapping[int, MicrobatchedHalf],
        head: Axes,
        tail: Axes,
        outputs: Axes,
    ) -> None:
        self.halves = dict(halves)
        self._lengths = [*self.halves]
        self._head, self._tail, self._outputs = head, tail, outputs
        self._chosen = 0

    @property
    def cuts(self) -> ClientCuts:
        """The tensors that cross, of the longest sequences."""
        return self.halves[self._lengths[-1]].cuts

    @property
    def calls(self) -> HostCalls:
        """Calls Python in the middle of all their graphs."""
        return self.halves[self._lengths[-1]].calls

    def length_of(
        self, head_inputs: Sequence[Any], tail_inputs: Sequence[Any]
    ) -> int:
        """To which length a batch is padded.

        Args:
            head_inputs: Inputs of the head, tensors or arrays.
            tail_inputs: Raw inputs that only the tail reads.

        Raises:
            DataError: If no length holds it, or inputs have sequences of
                different lengths.
        """
        found = self._sizes(head_inputs, tail_inputs)
        sizes = {size for size in found if size is not None}
        if len(sizes) < len(found):
            return self._lengths[-1]
        if len(sizes) != 1:
            raise DataError(
                "Expected all inputs of a batch with sequences of one length. "
                f"Received: {', '.join(map(str, sorted(sizes)))}. Pad those "
                "of a batch to the longest of them."
            )
        (size,) = sizes
        for length in self._lengths:
            if size <= length:
                return length
        raise too_long(size, self._lengths)

    @contextlib.contextmanager
    def at(self, length: int) -> Iterator[None]:
        """Graphs that are traced in it pad to that length."""
        before, self._chosen = self._chosen, length
        try:
            yield
        finally:
            self._chosen = before

    def infer(
        self,
        head_inputs: list[Any],
        tail_inputs: list[Any],
        body: RemoteBody | None = None,
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """See `ClientHalf`."""
        half, given, cut = self._padded(head_inputs, tail_inputs)
        outputs, penalty = half.infer(*given, body)
        return cut(outputs), penalty

    def train(
        self,
        head_inputs: list[Any],
        tail_inputs: list[Any],
        model: keras.Model,
        compute_loss: Callable[[list[tf.Tensor]], tf.Tensor],
        body: RemoteBody | None = None,
    ) -> Step:
        """See `ClientHalf`."""
        half, given, cut = self._padded(head_inputs, tail_inputs)
        step = half.train(
            *given, model, lambda outputs: compute_loss(cut(outputs)), body
        )
        return step._replace(outputs=cut(step.outputs))

    def train_labeled(
        self,
        head_inputs: list[Any],
        model: keras.Model,
        labels: list[tf.Tensor],
        sample_weights: list[tf.Tensor],
    ) -> Step:
        """See `ClientHalf`."""
        half, (head, _), _ = self._padded(head_inputs, [])
        return half.train_labeled(head, model, labels, sample_weights)

    def train_in_microbatches(
        self,
        head_inputs: list[Any],
        tail_inputs: list[Any],
        model: keras.Model,
        compute_loss: ComputeLoss,
        count: int,
    ) -> Step:
        """See `MicrobatchedHalf`."""
        half, given, cut = self._padded(head_inputs, tail_inputs)
        step = half.train_in_microbatches(
            *given,
            model,
            lambda outputs, part: compute_loss(cut(outputs), part),
            count,
        )
        return step._replace(outputs=cut(step.outputs))

    def smashed_with(
        self,
        head_inputs: list[Any],
        model: keras.Model,
        values: list[tf.Tensor],
        state: Updates,
        iteration: tf.Tensor,
    ) -> list[tf.Tensor]:
        """See `ClientHalf`."""
        half, (head, _), _ = self._padded(head_inputs, [])
        return half.smashed_with(head, model, values, state, iteration)

    def _padded(
        self, head_inputs: list[Any], tail_inputs: list[Any]
    ) -> tuple[
        MicrobatchedHalf,
        tuple[list[Any], list[Any]],
        Callable[[list[tf.Tensor]], list[tf.Tensor]],
    ]:
        """The half of a batch, its inputs, and what cuts its outputs."""
        length = self._chosen or self.length_of(head_inputs, tail_inputs)
        head = self._head[: len(head_inputs)]
        tail = self._tail[: len(tail_inputs)]
        given = (
            [padded(x, axes, length) for x, axes in _pairs(head_inputs, head)],
            [padded(x, axes, length) for x, axes in _pairs(tail_inputs, tail)],
        )
        size: Any = None
        for x, axes in (*_pairs(head_inputs, head), *_pairs(tail_inputs, tail)):
            if size is None and x is not None and axes:
                size = x.shape[axes[0]]
                if size is None:
                    size = tf.shape(x)[axes[0]]

        def cut(outputs: list[tf.Tensor]) -> list[tf.Tensor]:
            if isinstance(size, int) and size == length:
                return outputs
            pairs = _pairs(outputs, self._outputs)
            return [_cut(tensor, axes, size) for tensor, axes in pairs]

        return self.halves[length], given, cut

    def _sizes(
        self, head_inputs: Sequence[Any], tail_inputs: Sequence[Any]
    ) -> set[int | None]:
        """Lengths of the sequences of a batch; None for one not known."""
        found: set[int | None] = set()
        for inputs, known in (
            (head_inputs, self._head),
            (tail_inputs, self._tail),
        ):
            for x, axes in _pairs(inputs, known[: len(inputs)]):
                if x is not None:
                    found |= {x.shape[axis] for axis in axes}
        return found or {None}


def _pairs(tensors: Sequence[Any], axes: Axes) -> list[tuple[Any, Any]]:
    return list(zip(tensors, axes, strict=True))


def _cut(x: tf.Tensor, axes: Sequence[int], size: Any) -> tf.Tensor:
    """The beginning of the sequences of a batch."""
    if not axes:
        return x
    window = [slice(None)] * len(x.shape)
    for axis in axes:
        window[axis] = slice(size)
    return x[tuple(window)]
