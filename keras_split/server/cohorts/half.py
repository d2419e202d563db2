"""The half that all phones of a cohort have in common."""

import threading
from typing import Any

import numpy as np

from keras_split.compression.tensors import CutTensor
from keras_split.protocol import vectors


class CohortHalf:
    """Head and tail of a cohort as one vector, and how many averages made it.

    Attributes:
        version: How many; -1 if the cohort has none yet.
        vector: Shape `(size,)`, float32; None while there is none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.version = -1
        self.vector: np.ndarray[Any, Any] | None = None

    def put(self, version: int, vector: np.ndarray[Any, Any]) -> None:
        """There is another one."""
        with self._lock:
            self.version = version
            self.vector = np.array(vector, np.float32)

    def since(self, version: int) -> tuple[int, list[CutTensor]]:
        """Its version, and what a phone with another one needs."""
        with self._lock:
            if self.vector is None or version == self.version:
                return self.version, []
            return self.version, vectors.to_tensors(self.vector)
