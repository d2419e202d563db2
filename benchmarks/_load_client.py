"""Sessions without a model, for load.py: they send the same again and again.

    python benchmarks/_load_client.py ADDRESS FOLDER SESSIONS WARM_UP SECONDS

Opens its sessions, prints "ready", waits for a line, trains, waits for
another, closes them, and prints as JSON what it counted after the warm-up.
Loads neither Keras nor TensorFlow.
"""

import json
import sys
import threading
import time
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import numpy as np

from keras_split.client.session import ClientSession
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.protocol.contract import Contract
from keras_split.transports import Route

BATCH = 8
OPTIMIZER = json.dumps(
    {"class_name": "SGD", "config": {"learning_rate": 1e-6, "momentum": 0.9}}
)
RATE = 0.0  # the gradients are always the same, and would lead too far


@dataclass
class Load:
    """What one session sends, and how long it takes."""

    address: str
    contract: Contract
    smashed: list[CutTensor]
    features_grad: list[CutTensor]
    all_steps: int = 0
    times_s: list[float] = field(default_factory=list)
    error: str = ""

    def open(self) -> None:
        """Opens the session. A second try would be a step's hidden cost."""
        self._session = ClientSession(Route.to(self.address), retry=None)
        try:
            self._session.connect(self.contract, OPTIMIZER)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"

    def run(self, warm: float, end: float) -> None:
        """Takes steps until the end; those that end after `warm` count."""
        try:
            while not self.error and (began := time.monotonic()) < end:
                self._session.forward(self.smashed)
                self._session.backward(self.features_grad, RATE)
                self.all_steps += 1
                if (now := time.monotonic()) > warm:
                    self.times_s.append(now - began)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Says goodbye."""
        self._session.close()


def tensors(kind: str, spec: TensorSpec, folder: Path) -> list[CutTensor]:
    """What _load_server.py wrote."""
    with np.load(folder / "tensors.npz") as file:
        codes, scales = file[f"{kind}_codes"], file[f"{kind}_scales"]
    shape = (len(codes), *spec.shape)
    return [CutTensor(spec.name, shape, codes, scales)]


def main() -> None:
    """Runs the sessions in threads."""
    address, folder = sys.argv[1], Path(sys.argv[2])
    count, warm_up_s, seconds = int(sys.argv[3]), *map(float, sys.argv[4:])
    contract = Contract.from_config(
        json.loads((folder / "contract.json").read_text())
    )
    smashed = tensors("smashed", contract.smashed[0], folder)
    grads = tensors("features_grad", contract.features[0], folder)
    loads = [Load(address, contract, smashed, grads) for _ in range(count)]
    for load in loads:
        load.open()
    print("ready", flush=True)
    sys.stdin.readline()
    warm = time.monotonic() + warm_up_s
    threads = [
        threading.Thread(target=load.run, args=[warm, warm + seconds])
        for load in loads
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("done", flush=True)
    sys.stdin.readline()
    for load in loads:
        load.close()
    loaded = {"keras", "tensorflow"} & set(sys.modules)
    assert not loaded, f"expected a light process, received {loaded}"
    result = [
        {
            "all_steps": load.all_steps,
            "times_ms": [round(1000 * s, 3) for s in load.times_s],
            "error": load.error,
        }
        for load in loads
    ]
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
