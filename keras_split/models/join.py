"""Two halves become one model again, if they belong together."""

import logging
from typing import Any

import keras

from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.models.client import ClientModel
from keras_split.models.server import ServerModel
from keras_split.models.whole import assemble
from keras_split.protocol.difference import difference
from keras_split.training.optimizer_copy import optimizer_copy
from keras_split.utils import keras_private
from keras_split.utils.counted import counted

_LOG = logging.getLogger("keras_split")


def join(
    client: ClientModel, server: ServerModel, *, anyway: bool = False
) -> keras.Model:
    """One ordinary Keras model again, to deploy or to train on.

    It takes and returns what the model took and returned that was cut, has
    its layers, and needs no keras_split: `keras.saving.load_model` loads it
    where that is not installed. Weights are copies, so training it moves
    neither half. Bottlenecks (`"small"`, `"tiny"`) are layers of it.

    Quantization and defenses are no part of it: they belong to the link. At
    float32 and without defenses `whole.predict` equals `client.predict`; what
    they cost otherwise is the difference between `client.evaluate` and
    `whole.evaluate`.

    Args:
        client: The phone's half.
        server: The server's half.
        anyway: Whether to join halves of different moments of a training, or
            of different trainings, too. A warning in the log says what
            differs.

    Returns:
        The model. Where the client is compiled it has its loss and metrics
        (the same objects) and a fresh copy of its optimizer.

    Raises:
        OptionError: If these are not a client and a server.
        DataError: If they were cut from different models or elsewhere, are of
            different moments, or have a layer that Keras cannot copy.

    Example:
    >>> import keras_split
    >>> keras.utils.clear_session()
    >>> model = keras.Sequential([keras.Input((4,))])
    >>> for name in ("first", "second", "last"):
    ...     model.add(keras.layers.Dense(3, name=name))
    >>> client, server = keras_split.compile(model, ["first", "second"])
    >>> whole = keras_split.join(client, server)
    >>> [layer.name for layer in whole.layers[1:]]
    ['first', 'second', 'last']
    """
    _check_kinds(client, server)
    _check_cut(client, server)
    problem = _difference(client, server)
    if problem and not anyway:
        raise DataError(
            "Expected two halves of one moment of a training. Received: "
            f"{problem} Take halves that were saved at the same moment, or "
            "join them as they are with anyway=True (--anyway)."
        )
    if problem:
        _LOG.warning("joined halves that do not belong together: %s", problem)
    whole, moved = assemble(
        client.head, server.body, client.tail, client.wiring
    )
    if client.compiled:
        given = keras_private.compile_config(client)
        # The split step could not be compiled by XLA; the whole may be.
        given.pop("jit_compile", None)
        if client.optimizer is not None:
            given["optimizer"] = optimizer_copy(client.optimizer, moved=moved)
        whole.compile(**given)
        if client.optimizer is not None:
            # Keras warns when it loads a model whose optimizer was not built.
            whole.optimizer.build(whole.trainable_variables)
    return whole


def _check_kinds(client: Any, server: Any) -> None:
    for wanted, given, kind in (
        ("client", client, ClientModel),
        ("server", server, ServerModel),
    ):
        if not isinstance(given, kind):
            raise OptionError(
                "Expected join(client, server): the two halves that "
                f"keras_split.compile returned. Received: the {wanted} is a "
                f"{type(given).__name__}. Load one from its file with "
                "keras_split.load_model."
            )


def _check_cut(client: ClientModel, server: ServerModel) -> None:
    mine, theirs = client.contract, server.contract
    if mine.fingerprint == theirs.fingerprint:
        return
    found = difference(mine, theirs)
    assert found is not None
    raise DataError(
        f"{found[1]} To join, take the server.keras that was written with this "
        "client.keras, trained or not."
    )


def _difference(client: ClientModel, server: ServerModel) -> str:
    """How the moments of two halves differ, in words; empty if they do not."""
    mine, theirs = client.moment, server.moment
    if mine == theirs:
        return ""
    both = f"the client is of {mine}, the server of {theirs}."
    if not mine or not theirs:
        old, new = ("client", "server") if theirs else ("server", "client")
        return (
            f"a {old} that was never trained and a {new} of {mine or theirs}."
        )
    if mine.run != theirs.run:
        return f"halves of two trainings: {both}"
    behind = "client" if mine.steps < theirs.steps else "server"
    steps = counted(abs(mine.steps - theirs.steps), "step")
    return f"{both} The {behind} is {steps} behind."
