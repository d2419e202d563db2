"""Runs a file's passes over and over, and says how long each takes.

LiteRT and numpy alone, so that a phone can do it.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.device.model import litert
from keras_split.errors import DataError
from keras_split.utils.quiet import quietly

SIGNATURES = ("head_forward", "tail_step", "head_backward")
# Seconds on the wall; or those that this process had a core for, which is
# fairer beside other programs, and right for one thread only.
CLOCKS: dict[str, Callable[[], float]] = {
    "wall": time.perf_counter,
    "cpu": time.process_time,
}
FEWEST, MOST = 3, 200
# Before each pass a phone waits for the network: a core that slept takes twice
# as long for a pass of a millisecond.
_WAIT = 0.01
# Weights that move would end as NaN, hundreds of steps later.
_LEARNING_RATE = 1e-9


@dataclass(frozen=True)
class Runs:
    """The passes of one file.

    Attributes:
        seconds: The median by signature.
        counts: How often each ran.
    """

    seconds: dict[str, float]
    counts: dict[str, int]


def run(
    path: str | os.PathLike[str],
    *,
    seconds: float,
    threads: int | None = None,
    clock: str = "wall",
) -> Runs:
    """Runs the passes of a .tflite in turn for a while.

    Args:
        path: A file with the signatures of a training step.
        seconds: For how long, at least; each pass runs `FEWEST` times.
        threads: Of one operation; LiteRT's choice if not given.
        clock: One of `CLOCKS`.

    Raises:
        BackendError: If ai-edge-litert is not installed.
        DataError: If LiteRT cannot run the file.
    """
    now = CLOCKS[clock]
    found: dict[str, list[float]] = {name: [] for name in SIGNATURES}
    try:
        with quietly():  # LiteRT tells of its delegate
            interpreter = litert().Interpreter(
                model_path=os.fspath(path), num_threads=threads
            )
            passes = [_ready(interpreter, name) for name in SIGNATURES]
            for call in passes:
                call()
        began = time.perf_counter()
        while True:
            for name, call in zip(SIGNATURES, passes, strict=True):
                time.sleep(_WAIT)
                start = now()
                call()
                found[name].append(now() - start)
            rounds = len(found[SIGNATURES[0]])
            over = time.perf_counter() - began >= seconds
            if rounds >= FEWEST and (over or rounds >= MOST):
                break
    except (ValueError, RuntimeError) as error:
        raise DataError(
            f"Expected a .tflite with {', '.join(SIGNATURES)} that LiteRT can "
            f"run. Received: {os.fspath(path)!r}: {error}. Install a newer "
            "ai-edge-litert, or write the file again."
        ) from error
    return Runs(
        {name: float(np.median(times)) for name, times in found.items()},
        {name: len(times) for name, times in found.items()},
    )


def _ready(interpreter: Any, name: str) -> Callable[[], Any]:
    """A signature with values for all its inputs."""
    runner = interpreter.get_signature_runner(name)
    chance = np.random.default_rng(0)
    known: dict[str, Any] = {}
    details = runner.get_input_details()
    for key, detail in details.items():
        shape, dtype = tuple(detail["shape"]), detail["dtype"]
        if key == "learning_rate":
            value: Any = np.float32(_LEARNING_RATE)
        elif key == "count":
            value = np.int32(_rows(details))
        elif key.endswith("scales"):  # scale and zero point
            value = np.tile([1e-3, 128.0], (shape[0], 1))
        elif np.issubdtype(dtype, np.floating):
            value = chance.random(shape, np.float32).astype(dtype)
        else:
            top = 256 if key.endswith("codes") else 1
            value = chance.integers(0, top, shape).astype(dtype)
        known[key] = np.asarray(value, dtype)
    return lambda: runner(**known)


def _rows(details: Any) -> int:
    return max(
        [int(d["shape"][0]) for d in details.values() if len(d["shape"])],
        default=1,
    )
