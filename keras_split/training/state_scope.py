"""What a pass would change beside the gradients' work."""

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_split.errors import ProtocolError

Updates = list[tuple[Any, tf.Tensor]]


class StateScope(keras.StatelessScope):
    """A stateless scope that knows which variables it has new values of.

    Keras' own tells the new value of a variable only to those who know the
    variable. Stateful RNNs, layers that keep a variable in a plain attribute,
    and random numbers without a seed of their own move variables that no
    model lists.

    Args:
        trained: The weights, and their values.
        state: Other variables that are not as the model has them.
    """

    def __init__(
        self, trained: Iterable[Any], state: Iterable[Any] = ()
    ) -> None:
        trained = list(trained)
        super().__init__([*trained, *state], collect_losses=True)
        self._trained = {id(variable) for variable, _ in trained}
        self._updated: dict[int, Any] = {}

    def add_update(self, update: tuple[Any, tf.Tensor]) -> None:
        """Keras calls this for each variable that a layer assigns."""
        variable, _ = update
        self._updated[id(variable)] = variable
        super().add_update(update)

    def updates(self) -> Updates:
        """Every variable that was assigned, and its new value.

        Raises:
            ProtocolError: With reason `"state"`, if one is a weight that is
                trained. Keras takes its gradient at the new value, which no
                pure pass does.
        """
        for key, variable in self._updated.items():
            if key in self._trained:
                raise _refused(
                    f"{variable.path!r}, a weight that is trained and that "
                    "its layer assigns as well, as SpectralNormalization "
                    "does. Freeze the layer, or leave it out"
                )
        return [
            (variable, self.get_current_value(variable))
            for variable in self._updated.values()
        ]


def unlisted(updates: Updates, listed: Iterable[Any]) -> list[Any]:
    """The variables that would be updated and are not among those listed."""
    known = {id(variable) for variable in listed}
    return [v for v, _ in updates if id(v) not in known]


def check_listed(updates: Updates, body: keras.Model) -> None:
    """Refuses a state that the server could neither store nor keep apart.

    Args:
        updates: What a pass of the body would change.
        body: The body.

    Raises:
        ProtocolError: With reason `"state"`.
    """
    found = unlisted(updates, body.variables)
    if found:
        raise _refused(
            f"{found[0].path!r}, which moves with every batch and is not among "
            "the variables of the body: the server would lose it, and mix "
            "that of all clients. Give it to a layer with `add_weight(..., "
            "trainable=False)`, give random numbers a SeedGenerator of their "
            "layer, or cut so that it is on the phone"
        )


def _refused(received: str) -> ProtocolError:
    return ProtocolError(
        "Expected layers whose state is in their non-trainable variables. "
        f"Received: {received}.",
        "state",
    )
