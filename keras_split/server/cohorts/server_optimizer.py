"""The optimizer that a cohort applies to its average change."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from keras_split.protocol.cohort_messages import Enroll

if TYPE_CHECKING:
    from keras_split.training.vector_optimizer import VectorOptimizer

_Vector = np.ndarray[Any, Any]


class ServerOptimizer:
    """The optimizer that a cohort applies to its average change, if any.

    What the phones agreed on says which; TensorFlow is loaded for it then.
    """

    def __init__(self) -> None:
        self._made: VectorOptimizer | None = None
        self._loaded: Sequence[_Vector] = ()

    def prepare(self, enrolled: Enroll) -> None:
        """Makes it, when the first phone has said what it is.

        Raises:
            ProtocolError: With reason `"optimizer"`, if it cannot be.
        """
        if self._made is not None or not enrolled.terms.optimizer:
            return
        from keras_split.training.vector_optimizer import VectorOptimizer

        made = VectorOptimizer(enrolled.terms.optimizer, enrolled.size)
        if self._loaded:
            made.set_slots(self._loaded)
        self._made = made

    def change(self, half: _Vector, change: _Vector) -> _Vector:
        """What the half changes by, when it would by `change` on average.

        Args:
            half: As it is, shape `(size,)`, float32.
            change: Likewise.
        """
        if self._made is None:
            return change
        return self._made.change(half, change)

    def slots(self) -> list[_Vector]:
        """What outlives the server."""
        if self._made is None:
            return list(self._loaded)
        return self._made.slots()

    def load(self, slots: Sequence[_Vector]) -> None:
        """Goes on from these."""
        self._loaded = slots


def check(enrolled: Enroll) -> None:
    """Refuses one that cannot be, before a cohort has agreed on it.

    Raises:
        ProtocolError: With reason `"optimizer"`.
    """
    if enrolled.terms.optimizer:
        from keras_split.training.vector_optimizer import VectorOptimizer

        VectorOptimizer(enrolled.terms.optimizer, 1)
