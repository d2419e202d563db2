"""Parts of a network that a training leaves as they are."""

import fnmatch
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

import keras

from keras_split.errors import OptionError
from keras_split.utils import keras_private

if TYPE_CHECKING:
    from keras_split.models import ClientModel

_OPTION = "--freeze"


@contextmanager
def frozen(client: "ClientModel", parts: str | None) -> Iterator[None]:
    """Freezes parts of a network for as long as it is entered.

    After it they can be trained again, so that the file that is saved then is
    one to go on with. The optimizer knows them throughout: its slots are those
    of a training in which nothing is frozen.

    Args:
        client: The phone's half, compiled.
        parts: `head`, `body`, `tail`, or names of layers, between commas; a
            layer of a nested model is `OUTER/INNER`, and `*` stands for any
            letters.

    Raises:
        OptionError: If there is no such part here.
    """
    names = [part.strip() for part in (parts or "").split(",") if part.strip()]
    chosen = [layer for name in names for layer in _find(client, name)]
    if chosen and not client.optimizer.built:
        client.optimizer.build(client.trainable_variables)
    before = [
        (inner, inner.trainable)
        for layer in chosen
        for inner in keras_private.flatten_layers(layer)
    ]
    try:
        for layer in chosen:
            layer.trainable = False
        yield
    finally:
        for layer, trainable in before:
            layer.trainable = trainable


def _find(client: "ClientModel", name: str) -> list[keras.layers.Layer]:
    server = client.local_server()
    parts: dict[str, Any] = {
        "head": client.head,
        "tail": client.tail,
        "body": server.body if server is not None else None,
    }
    here = {k: part for k, part in parts.items() if part is not None}
    if name in here:
        return [here[name]]
    if name == "tail":
        raise OptionError(
            "Expected a model with a tail. Received: --freeze tail, and a "
            "model that is cut once. All behind the cut is the server's."
        )
    if name == "body":
        raise OptionError(
            "Expected a part of the phone's half. Received: --freeze body, "
            "which all phones of the server train. Freeze it there: before "
            "server.save, server.body.trainable = False."
        )
    paths = [pair for part in here.values() for pair in _paths(part)]
    found = [layer for path, layer in paths if fnmatch.fnmatch(path, name)]
    if not found:
        known = ", ".join(
            dict.fromkeys(path for path, layer in paths if layer.weights)
        )
        raise OptionError(
            f"Expected {', '.join(here)} or layers of the phone's half for "
            f"{_OPTION}. Received: {name!r}. Layers with weights are: {known}."
            + (
                " Those of the body are frozen where it is served."
                if "body" not in here
                else ""
            )
        )
    return found


def _paths(
    model: keras.Model, prefix: str = ""
) -> Iterator[tuple[str, keras.layers.Layer]]:
    for layer in model.layers:
        yield prefix + layer.name, layer
        if isinstance(layer, keras.Model):
            yield from _paths(layer, f"{prefix}{layer.name}/")
