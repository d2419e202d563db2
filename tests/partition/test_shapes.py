"""Layers that say one shape and make another."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from keras_split.errors import CutError


class Patches(layers.Layer):
    """Says one token too many, as if there were one for the class."""

    def call(self, x):
        return keras.ops.reshape(x, (keras.ops.shape(x)[0], -1, 3))

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] * shape[2] // 3 + 1, 3)


class Block(layers.Layer):
    """Says that nothing changes, whatever it is given."""

    def build(self, shape):
        self.dense = layers.Dense(shape[-1], name="inner")
        self.dense.build(shape)

    def call(self, x):
        return x + self.dense(x)

    def compute_output_shape(self, shape):
        return shape


class Refusing(Block):
    """Cannot be asked with another batch than what it is built for."""

    def call(self, x):
        if x.shape[0] == 2:
            raise ValueError("two are too few")
        return super().call(x)


def network(first=Patches, second=Block):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((4, 3), name="image")
    x = first(name="patches")(x)
    x = second(name="one")(x)
    x = second(name="two")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    return keras.Model(inputs, layers.Dense(2, name="last")(x))


def test_what_it_makes_is_not_what_it_says_and_a_cut_says_both():
    with pytest.raises(CutError) as info:
        keras_split.Partition(network(), ["one", "mean"])

    text = str(info.value)
    assert "'patches' of the class Patches" in text
    assert "says (5, 3)" in text and "makes (4, 3)" in text
    assert "fix_length(model, {})" in text


def test_inside_a_nested_model_it_is_found_as_well():
    inputs = keras.Input((4, 3))
    inner = network()
    model = keras.Model(inputs, layers.Dense(2)(inner(inputs)))

    with pytest.raises(CutError, match="/patches' of the class Patches"):
        keras_split.Partition(model, "functional/one")


def test_a_lambda_is_not_believed_either():
    inputs = keras.Input((4, 3))
    x = layers.Lambda(lambda x: x[:, :2], output_shape=(4, 3), name="two")(
        inputs
    )
    x = layers.Dense(3, name="dense")(x)
    model = keras.Model(inputs, layers.Dense(3, name="last")(x))

    with pytest.raises(CutError, match=r"says \(4, 3\).* makes \(2, 3\)"):
        keras_split.Partition(model, ["dense"])


def test_a_model_of_what_layers_make_trains_as_it_would():
    x = np.random.default_rng(0).normal(size=(8, 4, 3)).astype("float32")
    y = np.arange(8) % 2
    whole = network()
    model = keras_split.fix_length(network(), {})
    client, _ = keras_split.compile(
        model, ["one", "two"], quantization="float32"
    )

    for each in (whole, client):
        each.compile(
            "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        each.fit(x, y, epochs=3, shuffle=False, verbose=0)

    assert [t.shape for t in client.contract.smashed] == [(4, 3)]
    for one, other in zip(whole.weights, model.weights, strict=True):
        np.testing.assert_allclose(one, other, 0, 1e-6)


def test_a_layer_that_cannot_be_asked_is_believed():
    model = network(layers.Identity, Refusing)

    cut = keras_split.Partition(model, ["one", "mean"])

    assert [t.shape for t in cut.smashed] == [(4, 3)]
    assert keras_split.fix_length(model, {}).output_shape == (None, 2)
