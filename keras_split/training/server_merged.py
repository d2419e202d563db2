"""The body's part of a step that several phones take together."""

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.compression.tensors import CutTensor
from keras_split.training.body_optimizer import BodyOptimizer
from keras_split.training.graph_checks import finite_gradients
from keras_split.training.in_flight import StepInFlight
from keras_split.training.microbatch_graph import MicrobatchGraph

if TYPE_CHECKING:
    from keras_split.training.server_step import ServerHalf

_Tensors = Sequence[CutTensor]
_Parts = list[np.ndarray[Any, Any]]


class ServerMerged:
    """Runs one step of a body over the examples of several phones.

    Codes are put behind one another as they came, so each example has its own
    scale, or none.

    Args:
        half: The body.
        optimizer: Updates it.
        smashed: The smashed data of each phone, in the order of the batch.
        smashed_grad: Whether there are to be gradients of the smashed data.
    """

    def __init__(
        self,
        half: "ServerHalf",
        optimizer: BodyOptimizer,
        smashed: Sequence[_Tensors],
        *,
        smashed_grad: bool = True,
    ) -> None:
        self._half = half
        self._optimizer = optimizer
        self._graph: MicrobatchGraph = optimizer.graph_for(smashed_grad)
        self._counts = [tensors[0].shape[0] for tensors in smashed]
        codec = half.cut_codecs.smashed
        self._parts = joined([codec.unwrap(tensors) for tensors in smashed])
        self._waiting: StepInFlight | None = None

    def forward(self) -> tuple[list[CutTensor], float]:
        """Runs the body forward once, and changes nothing.

        Returns:
            The features of all, and the body's regularization loss.
        """
        half, examples = self._half, sum(self._counts)
        with half.lock:
            if half.in_flight.make_room(examples):
                step = self._start()
                penalty, *parts = step.features.result()
                half.in_flight.keep(step, examples)
                self._waiting = step
            else:
                made = self._graph.run_forward(*self._tensors())
                penalty, *parts = [part.numpy() for part in made]
        return half.cut_codecs.features.wrap(parts), float(penalty)

    def backward(
        self, features_grad: Sequence[_Tensors | None], learning_rate: float
    ) -> list[CutTensor]:
        """Runs the body backward once; updates its weights and statistics.

        Args:
            features_grad: Gradients of each phone's own mean loss by its
                features; None for one whose are not there. It has no part in
                the update, but in the statistics of the batch.
            learning_rate: Of this step.

        Returns:
            Gradients of each phone's mean loss by its smashed data, of all
            phones; see `of_each`.

        Raises:
            ProtocolError: If a gradient is not finite; nothing has changed.
        """
        half = self._half
        with half.lock, finite_gradients():
            given = self._given(features_grad, learning_rate)
            step = half.in_flight.take(self._waiting)
            if step is None:
                step = self._start(given)
            else:
                step.give(given)
            out = [part.numpy() for part in step.result.result()]
        return half.cut_codecs.smashed_grad.wrap(out)

    def of_each(self, tensors: _Tensors) -> list[list[CutTensor]]:
        """Each phone's rows of tensors of the batch, which are not copied."""
        ends = accumulate(self._counts)
        return [
            [_rows(tensor, end - n, end) for tensor in tensors]
            for end, n in zip(ends, self._counts, strict=True)
        ]

    def abandon(self) -> None:
        """Frees what its backward would find in memory."""
        self._half.abandon(self._waiting)
        self._waiting = None

    def _given(
        self, features_grad: Sequence[_Tensors | None], learning_rate: float
    ) -> list[Any]:
        """What its graph waits for: loss scale, each example's share, parts."""
        counts = np.array(self._counts)
        counts[[tensors is None for tensors in features_grad]] = 0
        shares = (counts / counts.sum()).astype(np.float32)
        return [
            np.float32(self._optimizer.enter(learning_rate)),
            np.repeat(shares, self._counts),
            *self._gradients(features_grad),
        ]

    def _gradients(self, features_grad: Sequence[_Tensors | None]) -> _Parts:
        """Parts of all phones; zeros for one that gave none."""
        unwrapped = [self._graph.unwrapped(t or ()) for t in features_grad]
        known = next((parts for parts in unwrapped if parts), [])
        return joined(
            [
                parts or [np.zeros((n, *p.shape[1:]), p.dtype) for p in known]
                for parts, n in zip(unwrapped, self._counts, strict=True)
            ]
        )

    def _tensors(self) -> list[tf.Tensor]:
        return [tf.convert_to_tensor(part) for part in self._parts]

    def _start(self, gradients: list[Any] | None = None) -> StepInFlight:
        """Starts its graph; with gradients at hand it never waits."""
        graph, parts = self._graph, self._tensors()
        return self._half.in_flight.start(
            lambda step_handle: graph.run_merged(step_handle, *parts),
            graph.merged_dtypes,
            gradients,
        )


def joined(parts: Sequence[_Parts]) -> _Parts:
    """Parts of several phones or processes, each behind the other."""
    return [np.concatenate(of_all) for of_all in zip(*parts, strict=True)]


def _rows(tensor: CutTensor, start: int, end: int) -> CutTensor:
    scales = None if tensor.scales is None else tensor.scales[start:end]
    shape = (end - start, *tensor.shape[1:])
    return CutTensor(tensor.name, shape, tensor.codes[start:end], scales)
