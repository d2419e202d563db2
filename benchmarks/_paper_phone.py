"""A phone for `paper.py`: takes steps, perhaps with a limit on its memory.

    python _paper_phone.py FILE [--server grpc://HOST:PORT] [--limit-mb 1024]

Without a server, FILE is a whole model that trains alone, from
`_whole_phone.py`; with one it is a phone's half, and `keras_split.device`
trains it. TensorFlow and Keras cannot be imported here. It says, as JSON, how
long the steps took, their losses, and the most memory that it had.

The limit is one on private memory (RLIMIT_DATA) beyond that of a Python with
numpy and LiteRT that has opened nothing. The file, which is mapped, does not
count: the system may drop its pages and read them again.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

THREADS = 2


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    with open("/proc/self/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def alone(path: str) -> Callable[[], Any]:
    """A step of a whole model."""
    runner = Interpreter(
        model_path=path, num_threads=THREADS
    ).get_signature_runner("step")
    chance = np.random.default_rng(0)
    details = runner.get_input_details()
    x, y = (details[name]["shape"] for name in "xy")
    known = {
        "x": chance.random(x, np.float32),
        "y": chance.integers(0, 10, y).astype(np.int32),
        "step": np.int32(0),
        "learning_rate": np.float32(1e-3),
    }
    known = {name: np.asarray(known[name]) for name in details}
    return lambda: float(runner(**known)["loss"])


def split(path: str, server: str) -> Callable[[], Any]:
    """A step of a phone's half, with the server."""
    from keras_split.device import Client

    client = Client(path, server, num_threads=THREADS)
    description = client.description
    (image,) = [
        t
        for t in description.signatures["head_forward"].inputs
        if t.name.startswith("x")
    ]
    chance = np.random.default_rng(0)
    x = chance.random(image.shape, np.float32)
    y = chance.integers(0, 10, image.shape[0]).astype(np.int32)

    def step() -> float:
        history = client.fit([(x, y)], learning_rate=1e-3, verbose=False)
        return float(history["loss"][-1])

    return step


def main() -> None:
    """Prints one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--server")
    parser.add_argument("--limit-mb", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="More steps, for so long."
    )
    options = parser.parse_args()
    sys.modules.update(tensorflow=None, keras=None)  # type: ignore[arg-type]
    bare = {"peak": status("VmHWM"), "private": status("VmData")}
    if options.limit_mb:
        most = int(bare["private"] + options.limit_mb * 1e6)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    if options.server:
        step = split(options.path, options.server)
    else:
        step = alone(options.path)
    losses, times = [], []
    ends = time.monotonic() + options.seconds
    while len(times) < options.steps or time.monotonic() < ends:
        began = time.perf_counter()
        losses.append(step())
        times.append(time.perf_counter() - began)
    said = {
        "seconds": times[1:] or times,  # the first one prepares
        "losses": losses[:5],
        "bare_bytes": bare["peak"],
        "peak_bytes": status("VmHWM"),
        "private_bytes": status("VmData") - bare["private"],
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
