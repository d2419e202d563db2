"""Head and tail of a client as one vector, for the phones of a cohort."""

import json
from typing import Any

import keras
import numpy as np

from keras_split.litert.state import Kinds
from keras_split.litert.state import digest
from keras_split.litert.state import kinds_of
from keras_split.protocol.half_layout import HalfLayout
from keras_split.protocol.half_layout import HalfTensor
from keras_split.training import optimizer_description
from keras_split.training.commit import is_float
from keras_split.utils import keras_private

_Array = np.ndarray[Any, Any]
_LOW = 20  # bits of a number of steps that are in its second float


class HalfVector:
    """Head and tail of a client as one vector.

    Its order is that of `HalfLayout`. Layers of somebody's own may keep
    statistics as well; they stand with those of batch normalization.

    Args:
        client: A `keras_split.ClientModel`.
        batchnorm: `"average"`, or `"local"` to leave batch normalization out.
        optimizer: Whether the optimizer's slots and its number of steps are
            behind the weights, which then are as good as another phone's.

    Attributes:
        variables: The Keras variables in it, without those of the optimizer.
        size: Numbers in the vector.
        weights: How many of them, at its beginning, are no slots.
        layout: SHA-256 of what they are, as hexadecimal digits.
        statistics: Whether some of them are statistics.

    Raises:
        OptionError: If nothing of it is trained.
    """

    def __init__(
        self,
        client: Any,
        batchnorm: str = "average",
        *,
        optimizer: bool = False,
    ) -> None:
        variables: list[keras.Variable] = []
        tensors: list[HalfTensor] = []
        frozen: list[keras.Variable] = []
        for part, model in (("head", client.head), ("tail", client.tail)):
            if model is None:
                continue
            kinds = _with_own_statistics(model, kinds_of(model))
            frozen += kinds.constants
            for kind, found in (
                ("weight", kinds.trained),
                ("statistic", kinds.statistics),
            ):
                for variable in found:
                    if not any(variable is known for known in variables):
                        variables.append(variable)
                        tensors.append(_tensor(part, kind, variable))
        hashed = digest((v, np.array(v)) for v in frozen)
        layout = HalfLayout(tensors, batchnorm, hashed)
        self._layout = layout
        self.variables = [variables[i] for i in layout.kept]
        self.weights = layout.size
        self.statistics = layout.statistics
        self._slots: list[keras.Variable] = []
        if optimizer:
            self._slots = client.optimizer.variables[1:]  # behind iterations
            told = _without_rate(
                optimizer_description.describe(client.optimizer, client)
            )
            rates = client.learning_rate_multipliers.get_config()
            layout = HalfLayout(
                [
                    *(tensors[i] for i in layout.kept),
                    HalfTensor("optimizer", "slot", (2,), ""),
                    *(_tensor("optimizer", "slot", v) for v in self._slots),
                ],
                frozen=f"{hashed} {batchnorm} {told} {rates}",
            )
        self._all = layout
        self._optimizer = client.optimizer if optimizer else None
        self.size, self.layout = layout.size, layout.digest

    def get(self) -> _Array:
        """A copy, shape `(size,)`, float32."""
        values = [np.array(v) for v in self.variables]
        if self._optimizer is not None:
            steps = int(self._optimizer.iterations)
            values.append(np.array(divmod(steps, 1 << _LOW)))
            values += [np.array(v) for v in self._slots]
        return self._all.join(values)

    def set(self, vector: _Array) -> None:
        """Puts one back."""
        values = iter(self._all.split(vector))
        for variable in self.variables:
            variable.assign(next(values))
        if self._optimizer is not None:
            high, low = map(int, next(values))
            self._optimizer.iterations.assign((high << _LOW) + low)
            for variable in self._slots:
                variable.assign(next(values))


def _with_own_statistics(model: keras.Model, kinds: Kinds) -> Kinds:
    """The same, with what layers of somebody's own keep beside weights.

    No layer of Keras moves others than batch normalization does, but for the
    states of RNNs, which belong to a batch and are nobody else's.
    """
    own, states = set(), set()
    for layer in keras_private.flatten_layers(model):
        if getattr(layer, "stateful", False):
            states |= {id(v) for v in keras.tree.flatten(layer.states)}
        elif layer.trainable and not _of_keras(layer):
            kept = filter(is_float, layer.non_trainable_variables)
            own |= {id(variable) for variable in kept}
    return Kinds(
        kinds.trained,
        kinds.statistics + [v for v in kinds.constants if id(v) in own],
        [v for v in kinds.constants if id(v) not in own | states],
    )


def _of_keras(layer: Any) -> bool:
    return type(layer).__module__.partition(".")[0] == "keras"


def _tensor(part: str, kind: str, variable: keras.Variable) -> HalfTensor:
    return HalfTensor(part, kind, tuple(variable.shape), variable.path)


def _without_rate(optimizer: str) -> str:
    """A description without the rate: that is a slot, and may change."""
    config = json.loads(optimizer)
    for inner in (config, config.get("config", {})):
        inner.pop("learning_rate", None)
    return json.dumps(config, sort_keys=True)
