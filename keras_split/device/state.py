"""The phone's half between two processes: one .npz, never pickled."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_split.device.description import Description
from keras_split.errors import DataError
from keras_split.protocol.moment import Moment
from keras_split.utils import npz

Arrays = Mapping[str, np.ndarray[Any, Any]]
_PREFIX = "state."
_FORMAT = 1  # a file that says none has this one


@dataclass(frozen=True, eq=False)
class State:
    """Everything that a training continues from.

    Attributes:
        arrays: Weights, statistics and optimizer slots, by name.
        step: Number of the next optimizer step.
        tag: The server's snapshot of the body at that step; empty if no
            session was open.
        moment: Of the body after the last step of this half; empty in a file
            of a version that knew none.
    """

    arrays: Arrays
    step: int
    tag: str = ""
    moment: Moment = Moment()

    def write(
        self, path: str | os.PathLike[str], description: Description
    ) -> None:
        """Writes one file; a half-written one never takes its place.

        Raises:
            DataError: If the file cannot be written.
        """
        path = Path(path)
        content = {f"{_PREFIX}{name}": a for name, a in self.arrays.items()}
        content["fingerprint"] = np.array(description.contract.fingerprint)
        content["frozen"] = np.array(description.frozen)
        content["step"] = np.array(self.step, np.int64)
        content["tag"] = np.array(self.tag)
        content["run"] = np.array(self.moment.run)
        content["run_steps"] = np.array(self.moment.steps, np.int64)
        try:
            npz.write(path, content)
        except OSError as error:
            raise DataError(
                f"Expected to write the state to {str(path)!r}. Received: "
                f"{error}. What was there before is as it was; look at the "
                "folder and at the free space."
            ) from error

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], description: Description
    ) -> "State":
        """Reads a file and checks that it belongs to this model.

        Raises:
            DataError: If it is missing, damaged, or of another model.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(
                f"Expected a state that save_state wrote. Received: "
                f"{str(path)!r}, which is no file. Look at the path."
            )
        try:
            content = npz.read(path)
            form = int(content.pop("format", np.array(_FORMAT)))
            fingerprint = str(content.pop("fingerprint"))
            frozen = str(content.pop("frozen"))
            step = int(content.pop("step"))
            tag = str(content.pop("tag"))
            moment = Moment(
                str(content.pop("run", "")), int(content.pop("run_steps", 0))
            )
            if not 0 <= step < 1 << 31:
                raise ValueError(f"its step is {step}")
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise DataError(
                f"Expected a state that save_state wrote. Received: "
                f"{str(path)!r}, which cannot be read "
                f"({type(error).__name__}: {error}). Nothing was changed; "
                "use an older copy of the file."
            ) from error
        if form > _FORMAT:
            raise DataError(
                f"Expected a state of format {_FORMAT}. Received: "
                f"{str(path)!r}, of format {form}, which a newer keras_split "
                "wrote. Nothing was changed; install that one."
            )
        _compare(
            path,
            "a model of fingerprint",
            description.contract.fingerprint[:12],
            fingerprint[:12],
            description.contract.fingerprint == fingerprint,
        )
        _compare(
            path,
            "frozen weights of hash",
            description.frozen[:12],
            frozen[:12],
            description.frozen == frozen,
        )
        # What else there is, another version has added.
        arrays = {
            name.removeprefix(_PREFIX): value
            for name, value in content.items()
            if name.startswith(_PREFIX)
        }
        expected = {
            spec.name: f"{spec.name}: {spec.dtype} {spec.shape}"
            for spec in description.state
        }
        found = {
            name: f"{name}: {value.dtype} {value.shape}"
            for name, value in arrays.items()
        }
        differ = [
            (expected.get(name, "no such tensor"), found.get(name, "none"))
            for name in {**expected, **found}
            if expected.get(name) != found.get(name)
        ]
        if differ:
            _compare(path, "a tensor", *differ[0], False)
        return cls(arrays, step, tag, moment)


def _compare(
    path: Path, what: str, expected: str, received: str, same: bool
) -> None:
    if not same:
        raise DataError(
            f"Expected a state of this model in {str(path)!r}, with {what} "
            f"{expected!r}. Received: {received!r}. Nothing was changed; use "
            "the client.tflite with which the state was saved."
        )
