"""What a LiteRT-only device has learned, back in the client."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_split.errors import DataError
from keras_split.errors import ExportError
from keras_split.litert.optimizers import Update
from keras_split.litert.state import Entry
from keras_split.litert.state import HalfState
from keras_split.litert.state import digest
from keras_split.protocol.moment import Moment
from keras_split.training.optimizer_copy import has_schedule
from keras_split.training.optimizer_copy import optimizer_copy
from keras_split.utils import npz
from keras_split.utils.counted import counted

_LOG = logging.getLogger("keras_split")
_PREFIX = "state."
_FORMAT = 1
_Array = np.ndarray[Any, Any]


class DeviceState:
    """A file that the `save_state` of a device client wrote.

    Args:
        path: The file.

    Attributes:
        path: The file.
        arrays: Weights, statistics and optimizer slots, by name.
        fingerprint: Of the model.
        frozen: Hash of what never changes in the device's file.
        step: How many optimizer steps were taken.
        tag: The server's snapshot of the body at that step; empty if none.
        moment: Of the body at that step.

    Raises:
        DataError: If it is missing, damaged, or of a newer version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(
                "Expected a state that a device's save_state wrote. Received: "
                f"{str(path)!r}, which is no file. Look at the path."
            )
        try:
            content = npz.read(path)
            form = int(content.get("format", np.array(_FORMAT)))
            self.fingerprint = str(content["fingerprint"])
            self.frozen = str(content["frozen"])
            self.step = int(content["step"])
            self.tag = str(content["tag"])
            self.moment = Moment(
                str(content.get("run", "")), int(content.get("run_steps", 0))
            )
            if not 0 <= self.step < 1 << 31:
                raise ValueError(f"its step is {self.step}")
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise DataError(
                "Expected a state that a device's save_state wrote. Received: "
                f"{str(path)!r}, which cannot be read "
                f"({type(error).__name__}: {error}). Use an older copy of the "
                "file."
            ) from error
        if form > _FORMAT:
            raise DataError(
                f"Expected a state of format {_FORMAT}. Received: "
                f"{str(path)!r}, of format {form}, which a newer keras_split "
                "wrote. Install that one."
            )
        self.arrays: Mapping[str, _Array] = {
            name.removeprefix(_PREFIX): value
            for name, value in content.items()
            if name.startswith(_PREFIX)
        }

    def check(self, fingerprint: str) -> None:
        """Refuses a state of another model.

        Raises:
            DataError: If it is one.
        """
        if self.fingerprint != fingerprint:
            raise self._refusal(
                f"a model of fingerprint {fingerprint[:12]}",
                self.fingerprint[:12],
            )

    def put(self, client: Any) -> list[str]:
        """Gives a client its weights, statistics and, where it can, slots.

        Args:
            client: The `ClientModel`.

        Returns:
            Names of the slots that the client has no place for.

        Raises:
            DataError: If it is of another model; nothing was changed.
        """
        self.check(client.contract.fingerprint)
        halves: list[HalfState] = []
        for prefix, model in (("head", client.head), ("tail", client.tail)):
            if model is not None:
                others = halves[0].entries if halves else []
                each = self._slots_a_weight(prefix, model, others)
                halves.append(HalfState(prefix, model, each, others))
        frozen = digest(v for half in halves for v in half.constants)
        if frozen != self.frozen:
            raise self._refusal(
                f"frozen weights of hash {frozen[:12]}", self.frozen[:12]
            )
        entries = [entry for half in halves for entry in half.entries]
        expected = {e.name: _form(np.array(e.variable)) for e in entries}
        found = {name: _form(array) for name, array in self.arrays.items()}
        for name in {**expected, **found}:
            mine, theirs = expected.get(name, "none"), found.get(name, "none")
            if mine != theirs:
                raise self._refusal(f"{name}: {mine}", theirs)
        for entry in entries:
            if entry.kind != "slot":
                entry.source.assign(self.arrays[entry.name])
        slots = [entry for entry in entries if entry.kind == "slot"]
        return self._put_slots(client, slots)

    def _put_slots(self, client: Any, entries: list[Entry]) -> list[str]:
        optimizer: Any = getattr(client, "optimizer", None)
        trained = client.trainable_variables
        count = _slots_of(optimizer)
        if count is None or count * len(trained) != len(entries):
            if optimizer is not None and entries:
                _LOG.warning(
                    "%s has %s, for which this client's %s has no place: it "
                    "starts with new ones",
                    self.path,
                    counted(len(entries), "optimizer slot"),
                    type(optimizer).__name__,
                )
            return [entry.name for entry in entries]
        if not optimizer.built:
            optimizer.build(trained)
        # Behind the number of steps, and the learning rate if it is no
        # schedule, they stand by weight.
        first = len(optimizer.variables) - count * len(trained)
        places = {
            id(variable): iter(optimizer.variables[first + i * count :])
            for i, variable in enumerate(trained)
        }
        for entry in entries:
            next(places[id(entry.source)]).assign(self.arrays[entry.name])
        optimizer.iterations.assign(self.step)
        return []

    def _slots_a_weight(
        self, prefix: str, model: keras.Model, others: list[Entry]
    ) -> int:
        bare = HalfState(prefix, model, 0, others)
        names = [name for name in self.arrays if name.startswith(prefix)]
        left = len(names) - len(bare.entries)
        return max(0, left // len(bare.trained)) if bare.trained else 0

    def _refusal(self, expected: str, received: str) -> DataError:
        return DataError(
            f"Expected a state of this model in {str(self.path)!r}, with "
            f"{expected}. Received: {received}. Nothing was changed; use the "
            "client.keras from the folder of the client.tflite with which "
            "the state was saved."
        )


def _slots_of(optimizer: Any) -> int | None:
    """How many slots a weight has; None if a device has no such optimizer."""
    if optimizer is None:
        return None
    if has_schedule(optimizer):  # which no file has, but who trains with it
        optimizer = optimizer_copy(optimizer, fixed_rate=True)
    try:
        return Update(optimizer).slots
    except ExportError:
        return None


def _form(array: _Array) -> str:
    return f"{array.dtype} {array.shape}"
