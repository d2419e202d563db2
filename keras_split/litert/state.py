"""What changes on the phone: weights, statistics and optimizer slots."""

import hashlib
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_split.utils import keras_private


class Kinds(NamedTuple):
    """The variables of head or tail.

    Attributes:
        trained: Gradients move them.
        statistics: A forward in training mode moves them.
        constants: All others.
    """

    trained: list[keras.Variable]
    statistics: list[keras.Variable]
    constants: list[keras.Variable]


@dataclass(frozen=True, eq=False)
class Entry:
    """One tensor of the state.

    Attributes:
        name: Its name in `get_state` and `set_state`.
        kind: `"weight"`, `"statistic"` or `"slot"`.
        source: The Keras variable it belongs to.
        variable: Holds it in the phone's file.
    """

    name: str
    kind: str
    source: keras.Variable
    variable: tf.Variable


class HalfState:
    """The state of head or tail.

    Args:
        prefix: `"head"` or `"tail"`.
        model: The segment.
        slots: How many optimizer slots each trained weight has.
        others: Entries of the other half. What both train, such as tied
            embeddings, is among those alone.

    Attributes:
        trained: The Keras variables that gradients move.
        tied: The entries of the other half that this one has a part in.
        statistics: Those that a forward in training mode moves.
        constants: All others, with the values that become part of the file.
        entries: One for each tensor of the state, in order.
    """

    def __init__(
        self,
        prefix: str,
        model: keras.Model,
        slots: int,
        others: Sequence[Entry] = (),
    ) -> None:
        trained, self.statistics, constants = kinds_of(model)
        self.tied = [
            entry
            for entry in others
            if entry.kind == "weight" and _among(entry.source, trained)
        ]
        theirs = [entry.source for entry in self.tied]
        self.trained = [v for v in trained if not _among(v, theirs)]
        self.constants = [(v, np.array(v)) for v in constants]
        self.entries: list[Entry] = []
        for kind, sources in (
            ("weight", self.trained),
            ("statistic", self.statistics),
            ("slot", [v for v in self.trained for _ in range(slots)]),
        ):
            for source in sources:
                name = f"{prefix}_{len(self.entries):03d}"
                value = np.array(source)
                if kind == "slot":
                    value = np.zeros_like(value)
                variable = tf.Variable(value, name=name)
                self.entries.append(Entry(name, kind, source, variable))
        self._slots = slots

    def read(self) -> list[tf.Tensor]:
        """The values of all entries, and of those tied, inside a graph."""
        return [tf.identity(e.variable) for e in self.entries + self.tied]

    def values(
        self, read: Sequence[tf.Tensor]
    ) -> list[tuple[keras.Variable, tf.Tensor]]:
        """Pairs for a `keras.StatelessScope`, constants included."""
        known = self.trained + self.statistics
        pairs = list(zip(known, read[: len(known)], strict=True))
        theirs = [entry.source for entry in self.tied]
        pairs += zip(theirs, self.tied_values(read), strict=True)
        return pairs + [(v, tf.constant(x)) for v, x in self.constants]

    def tied_values(self, read: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The values of the entries of the other half."""
        return list(read[len(self.entries) :])

    def slots(self, read: Sequence[tf.Tensor]) -> list[list[tf.Tensor]]:
        """The slots of each trained weight."""
        known = len(self.trained) + len(self.statistics)
        flat = list(read[known : len(self.entries)])
        return [
            flat[i * self._slots : (i + 1) * self._slots]
            for i in range(len(self.trained))
        ]

    def staged(self) -> list[tf.Variable]:
        """A second variable for each entry, where a step waits."""
        return [
            tf.Variable(tf.zeros_like(e.variable), name=f"{e.name}_next")
            for e in self.entries
        ]


def kinds_of(model: keras.Model) -> Kinds:
    """The variables of head or tail, by what happens to them."""
    trained = list(model.trainable_variables)
    moving = _moving(model)
    rest = [v for v in model.variables if not _among(v, trained)]
    return Kinds(
        trained,
        [v for v in rest if _among(v, moving)],
        [v for v in rest if not _among(v, moving)],
    )


def digest(constants: Iterable[tuple[keras.Variable, Any]]) -> str:
    """Hash of values that are fixed in a file: 64 hexadecimal digits."""
    total = hashlib.sha256()
    for variable, value in constants:
        if "seed_generator" in variable.path:
            continue  # a phone does not draw from it
        total.update(f"{value.shape}{value.dtype}".encode())
        total.update(value.tobytes())
    return total.hexdigest()


def _moving(model: keras.Model) -> list[keras.Variable]:
    """Statistics of the BatchNormalization layers that are trained.

    One with a `call` of its own would take them over rows that are filled up.
    """
    return [
        variable
        for layer in keras_private.flatten_layers(model)
        if type(layer).call is keras.layers.BatchNormalization.call
        and layer.trainable
        for variable in _statistics(layer)
    ]


def _statistics(layer: Any) -> list[keras.Variable]:
    """What a layer of BatchNormalization moves."""
    found = [layer.moving_mean, layer.moving_variance]
    if getattr(layer, "renorm", False):
        found += [layer.moving_stddev, layer.renorm_mean, layer.renorm_stddev]
    return found


def _among(variable: Any, variables: Iterable[Any]) -> bool:
    return any(variable is other for other in variables)
