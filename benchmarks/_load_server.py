"""A server of a small model, and what its clients send.

    python benchmarks/_load_server.py FOLDER SESSIONS [TOKENS [PHONES]]

Writes FOLDER/contract.json and FOLDER/tensors.npz, prints the address, serves
until SIGTERM, and prints as JSON how long steps waited and took. With PHONES it
merges their steps; TOKENS may be empty.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _load_client import BATCH

import keras_split
from keras_split.compression.quantize import quantize
from keras_split.server.callbacks import ServerCallback
from keras_split.server.callbacks import StepCommitted
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.observe import Audit
from keras_split.server.observe import Log
from keras_split.server.security import Security
from keras_split.utils import malloc

QUANTILES = (0.5, 0.95, 0.99)
_KEPT = 200_000


class Times(ServerCallback):
    """The times of the last steps, in a fixed amount of memory."""

    def __init__(self) -> None:
        self._times = np.full((_KEPT, 2), np.nan)
        self._count = 0

    def committed(self, taken: StepCommitted) -> None:
        """Notes one step."""
        row = self._times[self._count % _KEPT]
        row[0], row[1] = taken.queue_s, taken.compute_s
        self._count += 1

    def quantiles(self) -> dict[str, list[float]]:
        """Of both times, in milliseconds."""
        found = 1000 * np.nanquantile(self._times, QUANTILES, axis=0)
        return {
            "queue_ms": found[:, 0].tolist(),
            "compute_ms": found[:, 1].tolist(),
        }


def server_half() -> keras_split.ServerModel:
    """A body of two convolutions between a phone's first and last layer."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, 2, activation="relu", name="first")(inputs)
    x = layers.Conv2D(16, 3, padding="same", name="middle")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(32, 3, 2, activation="relu", name="deep")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(10, name="last")(x)
    model = keras.Model(inputs, outputs)
    return keras_split.compile(model, ["first", "deep"], quantization="int8")[1]


def write(
    contract: keras_split.protocol.contract.Contract, folder: Path
) -> None:
    """Writes what a client needs that has no Keras."""
    rng = np.random.default_rng(0)
    rules = contract.quantization
    arrays = {}
    for kind, specs, rule in (
        ("smashed", contract.smashed, rules.activations),
        ("features_grad", contract.features, rules.gradients),
    ):
        (spec,) = specs
        x = rng.normal(size=(BATCH, *spec.shape)).astype("float32")
        codes, scales = quantize(x, rule)
        arrays[f"{kind}_codes"] = np.array(codes)
        arrays[f"{kind}_scales"] = np.array(scales)
    np.savez(folder / "tensors.npz", **arrays)
    text = json.dumps(contract.get_config())
    (folder / "contract.json").write_text(text)


def main() -> None:
    """Serves until it is told to stop."""
    folder, sessions = Path(sys.argv[1]), int(sys.argv[2])
    tokens, phones = (*sys.argv[3:], "", "")[:2]
    cohort = None
    if phones:
        count = int(phones)
        cohort = CohortConfig("merged", phones=count, batch=BATCH * count)
    malloc.keep()
    model = server_half()
    contract = model.contract
    write(contract, folder)
    times = Times()
    with Audit(folder / "audit.jsonl") as audit:
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        server = model.serve(
            port=0,
            max_sessions=sessions,
            hello_burst=max(200, sessions),  # all come from one host
            security=Security(tokens=tokens or None),
            cohort=cohort,
            checkpoints=folder / "checkpoints",
            listeners=[audit, Log(), times],
        )
        print(f"Serving {server.target}", flush=True)
        while not stopped.wait(0.5):  # another thread may get the signal
            pass
        server.stop()
    print(json.dumps(times.quantiles()), flush=True)


if __name__ == "__main__":
    main()
