import keras
import numpy as np
import pytest

import keras_split
from keras_split.errors import OptionError
from keras_split_cli.freezing import frozen


@pytest.fixture(scope="module")
def client():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, name="a"),
            layers.Dense(4, name="b"),
        ],
        name="inner",
    )
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, name="first"),
            layers.Dense(4, name="cut"),
            layers.Dense(4, name="body"),
            inner,
            layers.Dense(2, name="last"),
        ]
    )
    model.compile("adam", "mse")
    made, _ = keras_split.compile(model, ["cut", "body"])
    return made


def trained_by(client):
    """Names of the layers that a step of both halves moves."""
    parts = (client.head, client.local_server().body, client.tail)
    layers = [
        layer
        for part in parts
        for layer in part._flatten_layers(include_self=False)
        if layer.weights and not isinstance(layer, keras.Model)
    ]
    before = [layer.get_weights() for layer in layers]
    client.train_on_batch(np.ones((4, 4)), np.ones((4, 2)))
    return {
        layer.name
        for layer, old in zip(layers, before, strict=True)
        if any(
            not np.array_equal(a, b)
            for a, b in zip(layer.get_weights(), old, strict=True)
        )
    }


def test_what_is_frozen_stays_and_can_be_trained_again(client):
    slots = 2 + 2 * len(client.trainable_variables)

    with frozen(client, "body,first,inner/a"):
        moved = trained_by(client)

    assert moved == {"cut", "last", "b"}
    assert len(client.optimizer.variables) == slots
    client.close()  # the next session sees what is thawed
    assert trained_by(client) == {"first", "cut", "body", "a", *moved}


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ("head", {"first", "cut"}),
        ("tail, first", {"a", "first", "b", "last"}),
        ("inner", {"a", "b"}),
        ("inner/a", {"a"}),
        ("*t", {"first", "cut", "last"}),
    ],
)
def test_parts_and_layers_are_called_by_name(client, parts, names):
    with frozen(client, parts):
        still = {
            layer.name
            for part in (client.head, client.local_server().body, client.tail)
            for layer in part._flatten_layers(include_self=False)
            if layer.weights and not layer.trainable
        }

    assert still - {"inner"} == names


def test_what_was_frozen_before_stays_frozen(client):
    client.head.get_layer("first").trainable = False
    try:
        with frozen(client, "head"):
            pass

        assert not client.head.get_layer("first").trainable
        assert client.head.get_layer("cut").trainable
    finally:
        client.head.trainable = True


def test_a_layer_that_is_not_there_is_named(client):
    with pytest.raises(OptionError, match="'frist'. Layers .* are: first,"):
        with frozen(client, "frist"):
            pass


def test_the_body_of_a_server_is_frozen_there(client, monkeypatch):
    monkeypatch.setattr(client._server_link, "server", None)

    with pytest.raises(OptionError, match="Freeze it there"):
        with frozen(client, "body"):
            pass
