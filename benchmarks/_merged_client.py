"""Phones without a model, for merged.py: alone, or as one cohort.

    python benchmarks/_merged_client.py FOLDER PHONES ALONE MERGED

ALONE and MERGED are addresses of two servers, and each phone has a session
with both. Prints "ready", and for each line ("alone 20", say) takes so many
steps with that server and prints "done"; an empty line ends it, and it prints
as JSON which errors there were. Loads neither Keras nor TensorFlow.
"""

import json
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _load_client import OPTIMIZER
from _load_client import RATE
from _load_client import tensors

from keras_split.client.cohort import CohortClient
from keras_split.client.session import ClientSession
from keras_split.compression.tensors import CutTensor
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.contract import Contract
from keras_split.transports import Route

# No half is averaged here, which takes the same time wherever it is done.
TERMS = AveragingTerms(every=1_000_000)


class Half:
    """Of a phone that has no model.

    Attributes:
        size: Numbers in it.
        layout: What they are.
    """

    size = 8
    layout = "00" * 32

    def get(self) -> np.ndarray[Any, Any]:
        """Nothing but zeros."""
        return np.zeros(self.size, np.float32)

    def set(self, vector: np.ndarray[Any, Any]) -> None:
        """They are not needed."""


class Phone:
    """Sends the same again and again, to either server.

    Args:
        contract: Of the model that both serve.
        smashed: Smashed data of a batch.
        features_grad: Gradients of its features.
        alone: Address of a server of phones that train alone.
        merged: Of one that merges their steps.

    Attributes:
        errors: What went wrong.
    """

    def __init__(
        self,
        contract: Contract,
        smashed: list[CutTensor],
        features_grad: list[CutTensor],
        alone: str,
        merged: str,
    ) -> None:
        self.errors: list[str] = []
        self._smashed = smashed
        self._features_grad = features_grad
        self._batch = smashed[0].shape[0]
        self._epoch = 0
        self._alone, self._merged = (
            ClientSession(Route.to(address), retry=None)
            for address in (alone, merged)
        )
        for session in (self._alone, self._merged):
            session.connect(contract, OPTIMIZER)
        self._cohort = CohortClient(
            self._merged, TERMS, Half(), self._batch, self._batch
        )

    def enroll(self) -> None:
        """Joins the cohort."""
        self._cohort.enroll()

    def alone(self, steps: int) -> None:
        """Takes steps of its own."""
        for _ in range(steps):
            self._step(self._alone)

    def merged(self, steps: int) -> None:
        """Takes its part in as many steps of the cohort."""
        left = steps * self._batch
        while (share := self._cohort.share(left, self._epoch)).step >= 0:
            if share.count != self._batch:
                raise ValueError(
                    f"Expected shares of {self._batch}. Received: {share}."
                )
            self._step(self._merged)
            left -= share.count
        if left:
            raise ValueError(f"Expected to give all. Received: {left} left.")
        self._epoch += 1

    def close(self) -> None:
        """Says goodbye to both."""
        self._alone.close()
        self._merged.close()

    def _step(self, session: ClientSession) -> None:
        session.forward(self._smashed)
        session.backward(self._features_grad, RATE)


def together(deeds: list[Callable[[], object]], errors: list[str]) -> None:
    """Does things at the same time, and waits for all of them."""

    def tried(deed: Callable[[], object]) -> None:
        try:
            deed()
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=tried, args=[deed]) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Runs the phones in threads."""
    folder, count, addresses = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    config = json.loads((folder / "contract.json").read_text())
    contract = Contract.from_config(config)
    smashed = tensors("smashed", contract.smashed[0], folder)
    grads = tensors("features_grad", contract.features[0], folder)
    phones = [
        Phone(contract, smashed, grads, *addresses) for _ in range(int(count))
    ]
    errors: list[str] = []
    together([phone.enroll for phone in phones], errors)
    print("ready", flush=True)
    while line := sys.stdin.readline().strip():
        name, steps = line.split()[0], int(line.split()[1])
        deeds = [getattr(phone, name) for phone in phones]
        together([partial(deed, steps) for deed in deeds], errors)
        print("done", flush=True)
    together([phone.close for phone in phones], errors)
    loaded = {"keras", "tensorflow"} & set(sys.modules)
    assert not loaded, f"expected a light process, received {loaded}"
    print(json.dumps(errors), flush=True)


if __name__ == "__main__":
    main()
