"""Functions for the batches of Keras, one for each length of sequences."""

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any

import keras
import tensorflow as tf

from keras_split.models import functions
from keras_split.models.functions import Function
from keras_split.training.client_lengths import ClientLengths
from keras_split.training.in_graph import InGraphBody

if TYPE_CHECKING:
    from keras_split.models.client import ClientModel


def of_keras(client: "ClientModel", kind: str) -> Function:
    """What Keras makes for the batches of a client.

    Args:
        client: Whose function it is.
        kind: `"train"`, `"test"` or `"predict"`.
    """
    make, name = f"make_{kind}_function", f"{kind}_function"

    def made(length: int = 0) -> Function:
        # Keras looks there before each batch.
        before = getattr(client, name, None)
        getattr(keras.Model, make)(client, True)
        function: Function = getattr(client, name)
        setattr(client, name, before)
        return function

    half = client._half
    if not isinstance(half, ClientLengths):
        return made()
    return _ByLength(client, half, made)


def joining(client: "ClientModel", body: InGraphBody) -> Function:
    """Takes each step in one graph with the server's."""
    half = client._half
    if not isinstance(half, ClientLengths):
        return functions.joining(client, body, half.cuts)
    halves = half.halves
    return _ByLength(
        client,
        half,
        lambda length: functions.joining(
            client, body.at(length), halves[length].cuts
        ),
    )


def of_step(
    client: "ClientModel", step: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """The graph of a step that takes a batch."""

    def made(length: int = 0) -> Function:
        function: Function = tf.function(
            step, reduce_retracing=True, autograph=False
        )
        return function

    half = client._half
    if not isinstance(half, ClientLengths):
        return made()
    found = _ByLength(client, half, made)
    return lambda batch: found.take(batch, batch)


class _ByLength:
    """Looks how long a batch is, and takes the function of that length.

    Args:
        client: Whose batches they are.
        half: Its half.
        make: Makes the function of a length.
    """

    def __init__(
        self,
        client: "ClientModel",
        half: ClientLengths,
        make: Callable[[int], Function],
    ) -> None:
        self._client, self._half, self._make = client, half, make
        self._made: dict[int, Function] = {}

    def __call__(self, data: Any) -> Any:
        """Logs of the next batches of an iterator, or outputs of a list."""
        if isinstance(data, list):
            return _joined([self.take(one, [one]) for one in data])
        logs = None
        for one in islice(data, self._client.steps_per_execution):
            batch = functions.bare(one)
            logs = self.take(batch, iter([batch]))
        if logs is None:
            raise StopIteration
        return logs

    def take(self, batch: Any, given: Any) -> Any:
        """What the function makes that is for a batch.

        Args:
            batch: It.
            given: What the function is given.
        """
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        length = self._half.length_of(*self._client.wiring.sort(x))
        if length not in self._made:
            self._made[length] = self._make(length)
        with self._half.at(length):
            return self._made[length](given)


def _joined(outputs: list[Any]) -> Any:
    """Outputs of batches as those of one."""
    return keras.tree.map_structure(lambda *t: tf.concat(t, 0), *outputs)
