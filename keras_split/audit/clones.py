"""Copies of both halves, for what must not touch the user's."""

import copy
from typing import Any

import keras
import tensorflow as tf

from keras_split.defenses.chain import Chain
from keras_split.errors import OptionError
from keras_split.models import ClientModel
from keras_split.models import ServerModel
from keras_split.training.optimizer_copy import optimizer_copy
from keras_split.utils import keras_private


def clones(
    client: ClientModel,
    server: ServerModel,
    *,
    defenses: Chain | None = None,
    fresh: bool = False,
) -> tuple[ClientModel, ServerModel]:
    """Two halves like these, with variables of their own, to train here.

    The client is compiled for class numbers: a loss that wants one-hot rows
    is given them.

    Args:
        client: Compiled; neither it nor its strategy is touched.
        server: Its server.
        defenses: In place of the client's.
        fresh: Whether weights are drawn anew, not copied.

    Raises:
        OptionError: If the client is not compiled.
    """
    given = keras_private.compile_config(client)
    optimizer = getattr(client, "optimizer", None)
    if optimizer is None or not given.get("loss"):
        raise OptionError(
            "Expected a client with an optimizer and a loss, to train a copy "
            "of it. Received: one that is not compiled. Call "
            "client.compile('adam', 'sparse_categorical_crossentropy')."
        )
    assert client.tail is not None
    head = keras.models.clone_model(client.head)
    known = {layer.name for layer in client.head.layers if layer.variables}
    shared = {
        layer.name
        for layer in client.tail.layers
        if layer.name in known
        and layer is client.head.get_layer(name=layer.name)
    }
    if shared:
        tail = keras.models.clone_model(
            client.tail,
            clone_function=lambda layer: (
                head.get_layer(name=layer.name)
                if layer.name in shared
                else type(layer).from_config(layer.get_config())
            ),
        )
    else:
        tail = keras.models.clone_model(client.tail)
    body = keras.models.clone_model(server.body)
    if not fresh:
        head.set_weights(client.head.get_weights())
        tail.set_weights(client.tail.get_weights())
        body.set_weights(server.body.get_weights())
    # A copy, for nobody but the auditor sees what this one draws.
    chain = copy.copy(client.defenses if defenses is None else defenses)
    one = ClientModel(
        head, tail, client.contract, client.wiring, defenses=chain
    )
    other = ServerModel(body, server.contract)
    one._server_link.server = other
    if server.compiled and server.optimizer is not None:
        other.compile(
            optimizer_copy(server.optimizer),
            own_learning_rate=server.own_learning_rate,
        )
    rates: Any = client.learning_rate_multipliers
    one.compile(
        optimizer_copy(
            optimizer,
            moved=(client.trainable_variables, one.trainable_variables),
        ),
        _on_class_numbers(given["loss"], tail.outputs[0].shape[-1]),
        learning_rate_multipliers=rates,
    )
    return one, other


def _on_class_numbers(loss: Any, classes: int) -> Any:
    """A loss that is given class numbers, whatever it wants."""
    (loss,) = keras.tree.flatten(loss)
    name = loss if isinstance(loss, str) else getattr(loss, "name", "")
    name = name or getattr(loss, "__name__", "")
    if classes == 1 or name.lower().startswith("sparse"):
        return loss
    wanted = keras.losses.get(loss)

    def of_one_hot(y: Any, predicted: Any) -> Any:
        rows = tf.one_hot(tf.reshape(tf.cast(y, tf.int32), [-1]), classes)
        return wanted(rows, predicted)

    return of_one_hot
