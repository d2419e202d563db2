"""The .tflite: functions that share weights and optimizer slots."""

import importlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_split.device.clock import Clock
from keras_split.device.description import Description
from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.utils.extras import install

Arrays = dict[str, np.ndarray[Any, Any]]


class Model:
    """Runs the signatures of a .tflite in one LiteRT interpreter.

    The interpreter allocates what a signature needs when it is first run, and
    keeps it.

    Args:
        path: The .tflite.
        description: Its client.json.
        num_threads: Threads of one operation; LiteRT's choice if not given.
        clock: Measures each signature.

    Raises:
        BackendError: If ai-edge-litert is not installed.
        DataError: If LiteRT cannot load the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        description: Description,
        num_threads: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._path = os.fspath(path)
        self._signatures = description.signatures
        self._state = description.state
        self._trains = description.trains
        self._clock = clock or Clock()
        self._runners: dict[str, Any] = {}
        try:
            # By path: LiteRT maps the file instead of copying it.
            self._interpreter = litert().Interpreter(
                model_path=self._path, num_threads=num_threads
            )
            found = set(self._interpreter.get_signature_list())
        except (ValueError, RuntimeError) as error:
            raise DataError(
                f"Expected a .tflite that LiteRT can load. Received: "
                f"{self._path!r}: {error}. Export it again, or install a "
                "newer ai-edge-litert."
            ) from error
        missing = set(self._signatures) - found
        if missing:
            raise DataError(
                f"Expected the signatures {sorted(self._signatures)} in "
                f"{self._path!r}. Received: {sorted(found)}. Export the model "
                "again."
            )

    def check_trains(self) -> None:
        """Checks that the file was exported for training.

        Raises:
            DataError: If not.
        """
        if not self._trains:
            raise DataError(
                f"Expected a .tflite that trains. Received: {self._path!r}, "
                "exported for inference. Only predict works with it; export "
                "the other with client.export('client.tflite')."
            )

    def has(self, signature: str) -> bool:
        """Whether there is a signature of that name."""
        return signature in self._signatures

    def run(self, signature: str, known: Mapping[str, Any]) -> Arrays:
        """Runs one signature.

        Args:
            signature: Its name.
            known: Arrays by name; those that the signature takes are used.

        Returns:
            What it gives, by name. The arrays are the caller's.

        Raises:
            DataError: If there is no such signature, a tensor is missing or
                has another shape or dtype, or LiteRT fails.
        """
        spec = self._signatures.get(signature)
        if spec is None:
            raise DataError(
                f"Expected a file with the signature {signature!r}. Received: "
                f"{self._path!r}, which has {sorted(self._signatures)}. "
                "Export one that trains: client.export('client.tflite')."
            )
        feeds = {}
        for tensor in spec.inputs:
            value = known.get(tensor.name)
            if (
                value is None
                or value.shape != tensor.shape
                or value.dtype != tensor.dtype
            ):
                came = (
                    "none"
                    if value is None
                    else f"{value.dtype} of shape {value.shape}"
                )
                raise DataError(
                    f"Expected {tensor.name!r} for {signature!r} as "
                    f"{tensor.dtype} of shape {tensor.shape}. Received: "
                    f"{came}. Use the client.json that was exported with "
                    f"{self._path!r}."
                )
            feeds[tensor.name] = value
        with self._clock.measure(signature):
            try:
                if signature not in self._runners:
                    self._runners[signature] = (
                        self._interpreter.get_signature_runner(signature)
                    )
                made: Arrays = self._runners[signature](**feeds)
            except (ValueError, RuntimeError) as error:
                raise DataError(
                    f"Expected LiteRT to run {signature!r} of {self._path!r}. "
                    f"Received: {error}. Use a smaller batch_size if memory "
                    "is short; else install the ai-edge-litert that "
                    "keras_split was tested with, or export again."
                ) from error
        return made

    def get_state(self) -> Arrays:
        """A copy of weights, statistics and optimizer slots, by name."""
        made = self.run("get_state", {})
        return {tensor.name: made[tensor.name] for tensor in self._state}

    def set_state(self, state: Arrays) -> None:
        """Puts a copy back."""
        self.run("set_state", state)


def litert() -> Any:
    """LiteRT's module of the interpreter.

    Raises:
        BackendError: If it is not installed.
    """
    try:
        return importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise BackendError(
            "Expected ai-edge-litert, which runs the phone's half. Received: "
            f"{error}. Run: {install('device')}"
        ) from error
