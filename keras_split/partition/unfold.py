"""A model whose composite layers are opened up, to be cut inside them.

A layer that calls others, such as the encoder of a vision transformer, is one
call of a graph. What its `call` does can stand in its place, where nothing is
lost by it.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_split.errors import CutError
from keras_split.partition.graph import Graph
from keras_split.partition.own_code import check_own_code
from keras_split.partition.replay import Member
from keras_split.partition.replay import rebuilt
from keras_split.utils import keras_private

_BATCH = 2


def unfold(model: keras.Model, layers: str | Sequence[str]) -> keras.Model:
    """The layers of a model, where composite ones are what they call.

    The parts of `vit_encoder` of keras_hub, `transformer_block_1` and so on,
    become layers of the model, and may be cut behind. Layers and weights are
    those of the model, and both compute the same. Nested models are opened
    up, as any cut does.

    Args:
        model: A functional model whose sequences have lengths.
        layers: Which of its layers are opened up, by name.

    Returns:
        A functional model, not compiled.

    Raises:
        CutError: If there is no such layer; or it is more than what its
            `call` has other layers do: it has weights or losses of its own,
            depends on `training`, deals with masks; or parts of several have
            the same name.

    Example:
    >>> keras.utils.clear_session()
    >>> class Twice(keras.layers.Layer):
    ...     def build(self, shape):
    ...         self.one = keras.layers.Dense(4, name="one")
    ...         self.two = keras.layers.Dense(4, name="two")
    ...
    ...     def call(self, x):
    ...         return self.two(self.one(x))
    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, Twice(name="twice")(inputs))
    >>> [layer.name for layer in unfold(model, "twice").layers[1:]]
    ['one', 'two']
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    check_own_code(model)
    graph = Graph(model)
    _check_names(graph, names)

    def called(member: Member) -> Any:
        layer = member.operation
        return _Opened(layer) if layer.name in names else layer

    try:
        opened = rebuilt(model, graph, lambda tensor: tensor.spec.shape, called)
    except ValueError as error:
        raise CutError(
            f"Cannot open up {', '.join(names)} of {model.name!r}: {error} "
            "Give parts of different layers names of their own, or cut "
            "outside."
        ) from error
    _check_equal(model, opened, names)
    return opened


class _Opened:
    """What a layer's `call` does, on symbolic tensors."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        own = set(map(id, layer.variables))
        for part in keras_private.flatten_layers(layer, include_self=False):
            own -= set(map(id, part.variables))
        for is_so, what in (
            (own, "has weights or seeds of its own"),
            (
                "training" in inspect.signature(layer.call).parameters,
                "does something else in training",
            ),
            (layer.activity_regularizer, "has a loss of its own"),
        ):
            if is_so:
                raise _refusal(layer.name, what)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The symbolic results.

        Raises:
            CutError: If that is not all that the layer does.
        """
        layer = self._layer
        tensors = keras.tree.flatten((args, kwargs))
        if any(keras_private.mask_of(tensor) is not None for tensor in tensors):
            raise _refusal(layer.name, "is given a mask")
        try:
            return layer.call(*args, **kwargs)
        except CutError:
            raise
        except Exception as error:
            # Its code may be anything, and raise anything.
            raise _refusal(
                layer.name,
                f"cannot be called with symbolic tensors ({error})",
            ) from error


def _refusal(name: str, what: str) -> CutError:
    return CutError(
        "Expected a layer that has other layers do all that it does. "
        f"Received: {name!r}, which {what}. Cut outside of it."
    )


def holder(graph: Graph, part: str) -> str:
    """Name of the composite layer that calls a layer; "" if none does."""
    for layer in _composites(graph):
        parts = keras_private.flatten_layers(layer, include_self=False)
        if part in {each.name for each in parts}:
            return str(layer.name)
    return ""


def _composites(graph: Graph) -> list[Any]:
    """Layers that have layers."""
    return [
        call.operation
        for call in graph.calls
        if isinstance(call.operation, keras.layers.Layer)
        and any(keras_private.flatten_layers(call.operation, False))
    ]


def _check_names(graph: Graph, names: Sequence[str]) -> None:
    known = dict.fromkeys(layer.name for layer in _composites(graph))
    for name in names:
        if name not in known:
            raise CutError(
                "Expected a layer of the model that calls others: "
                f"{', '.join(known) or 'there is none'}. Received: {name!r}."
            )


def _check_equal(
    model: keras.Model, opened: keras.Model, names: Sequence[str]
) -> None:
    """Whether both compute the same, of what their layers take."""
    rng = np.random.default_rng(0)
    structure = keras_private.inputs_struct(keras_private.functional(model))
    if any(None in t.shape[1:] for t in keras.tree.flatten(structure)):
        raise CutError(
            "Expected a model whose inputs have lengths. Received: "
            f"{model.name!r}, of which one has none. Call "
            "keras_split.fix_length(model, length) before."
        )
    given = keras.tree.map_structure(
        lambda t: rng.integers(0, 2, (_BATCH, *t.shape[1:])).astype(t.dtype),
        structure,
    )
    one, other = (keras.tree.flatten(m(given)) for m in (model, opened))
    alike = len(model.losses) == len(opened.losses) and all(
        np.allclose(a, b, rtol=1e-5, atol=1e-6)
        for a, b in zip(one, other, strict=True)
    )
    if not alike:
        raise _refusal(", ".join(names), "computes something else then")
