"""Head and tail of the phone, with the server in between."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.client.session import ClientSession
from keras_split.compression.tensors import CutTensor
from keras_split.device.batch import Batch
from keras_split.device.clock import Clock
from keras_split.device.description import Description
from keras_split.device.model import Model
from keras_split.device.moved_head import MovedHead
from keras_split.device.row_padder import RowPadder
from keras_split.errors import RefusedError
from keras_split.errors import SplitError
from keras_split.protocol.validation import not_finite

Arrays = dict[str, np.ndarray[Any, Any]]
Score = tuple[float, dict[int, float]]
Listener = Callable[[list[np.ndarray[Any, Any]]], object] | None
_LOG = logging.getLogger("keras_split")


@dataclass(frozen=True, eq=False)
class _Begun:
    """A step whose gradients may be on their way to the server."""

    number: int  # in the session
    known: Arrays
    features_grad: list[CutTensor]
    learning_rate: float
    count: int
    loss: float


class PhoneHalf:
    """Runs one batch: signatures, messages, signatures.

    What a signature gives is kept under its name, and the next takes from it
    what it needs; so an edge from head to tail needs no code.

    Args:
        model: The .tflite.
        description: Its client.json.
        session: Speaks with the server.
        clock: Measures the server.

    Attributes:
        step: Number of the next optimizer step.
    """

    def __init__(
        self,
        model: Model,
        description: Description,
        session: ClientSession,
        clock: Clock,
    ) -> None:
        contract, size = description.contract, description.batch_size
        rules = contract.quantization
        self._model = model
        self._description = description
        self._session = session
        self._clock = clock
        self.step = 0
        self._head_trains = not description.frozen_head
        session.connection.no_smashed_grad = description.frozen_head
        self._begun: _Begun | None = None
        self._smashed = RowPadder(
            "smashed",
            contract.smashed,
            rules.activations,
            size,
            contract.shared,
        )
        self._features = RowPadder(
            "features", contract.features, rules.activations, size
        )
        self._features_grad = RowPadder(
            "features_grad", contract.features, rules.gradients, size
        )
        self._smashed_grad = RowPadder(
            "smashed_grad", contract.smashed, rules.gradients, size
        )

    def train(self, batch: Batch, learning_rate: float) -> Score:
        """Takes one step; only its last call changes something on the phone.

        Args:
            batch: Examples and labels.
            learning_rate: Of both halves.

        Returns:
            The loss to log, and right answers by number of the output.

        Raises:
            ProtocolError: With reason `"not-finite"` if the step must not be
                taken, and was not.
            RefusedError: If the server refused it.
            TransportError: If the server went away.
        """
        count, run = batch.count, self._model.run
        known: Arrays = dict(batch.tensors)
        known["step"] = np.array(self.step, np.int32)
        known["learning_rate"] = np.array(learning_rate, np.float32)

        known |= run("head_forward", known)
        smashed = self._smashed.leave(known, count)
        with self._clock.measure("server"):
            features, penalty = self._session.forward(smashed)

        known |= self._features.arrive(features, count)
        known |= run("tail_step", known)
        loss = float(known["loss"]) + float(known["penalty"]) + penalty
        if not math.isfinite(loss):
            raise not_finite("loss")
        self._begun = _Begun(
            self._session.next_step,
            known,
            self._features_grad.leave(known, count),
            learning_rate,
            count,
            loss,
        )
        return self._finish(self._begun)

    def head(self, batch: Batch) -> MovedHead:
        """The head before the next step, for a check of that step."""
        state = self._description.state
        names = [tensor.name for tensor in state if tensor.kind == "weight"]
        return MovedHead(self._model, names, batch, self.step, self._smashed)

    def finish(self) -> Score | None:
        """Second half of a step that was interrupted there.

        The server takes it once, so both halves are at the same step after.
        Where other phones have gone on without it, none takes it; nor does
        the phone where the session is over.

        Returns:
            Its score; None if no step is open.
        """
        begun = self._begun
        if begun is None:
            return None
        if not self._session.knows(begun.number):
            self._begun = None
            _LOG.warning(
                "A step was interrupted, and its session is over: the phone "
                "did not take it, and the server may have."
            )
            return None
        try:
            return self._finish(begun)
        except RefusedError as error:
            if error.reason != "late":
                raise
            return None

    def _finish(self, begun: _Begun) -> Score:
        try:
            with self._clock.measure("server"):
                smashed_grad = self._session.backward_of(
                    begun.number, begun.features_grad, begun.learning_rate
                )
                # It may come to nothing until then, as `head_backward` may not.
                self._session.committed()
            arrived: Arrays = {}
            if self._head_trains:
                arrived = self._smashed_grad.arrive(smashed_grad, begun.count)
        except SplitError:
            self._begun = None  # the server is lost, or did not take it
            raise
        # Before the call: an interrupt comes when it is over.
        self._begun = None
        self.step += 1
        self._model.run("head_backward", begun.known | arrived)
        return begun.loss, self._correct(begun.known)

    def evaluate(self, batch: Batch, on_outputs: Listener = None) -> Score:
        """Loss and right answers in inference mode; nothing changes.

        Args:
            batch: Examples and labels.
            on_outputs: Called with the predictions of each output, which are
                computed only then.
        """
        known, penalty = self._infer(batch)
        known |= self._model.run("tail_evaluate", known)
        if on_outputs is not None:
            on_outputs(self._predictions(batch, known))
        return float(known["loss"]) + penalty, self._correct(known)

    def predict(self, batch: Batch) -> list[np.ndarray[Any, Any]]:
        """The predictions of each output, shape `(count, ...)`."""
        known, _ = self._infer(batch)
        return self._predictions(batch, known)

    def _predictions(
        self, batch: Batch, known: Arrays
    ) -> list[np.ndarray[Any, Any]]:
        made = self._model.run("tail_infer", known)
        return [
            made[f"prediction_{i}"][: batch.count]
            for i in range(len(self._description.outputs))
        ]

    def _infer(self, batch: Batch) -> tuple[Arrays, float]:
        """What the tail needs in inference mode, and the body's penalty."""
        known: Arrays = dict(batch.tensors)
        known |= self._model.run("head_infer", known)
        smashed = self._smashed.leave(known, batch.count)
        with self._clock.measure("server"):
            features, penalty = self._session.infer(smashed)
        return known | self._features.arrive(features, batch.count), penalty

    def _correct(self, known: Arrays) -> dict[int, float]:
        return {
            i: float(known[f"correct_{i}"])
            for i, output in enumerate(self._description.outputs)
            if output.accuracy
        }
