"""Composite layers that are opened up, and those that are not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_split
from keras_split import unfold
from keras_split.errors import CutError
from tests.nets import largest_difference


class Blocks(layers.Layer):
    """Three blocks, and a residual around two of them."""

    def build(self, shape):
        self.blocks = [
            layers.Dense(4, "tanh", name=f"{self.name}_{i}") for i in range(3)
        ]
        for block in self.blocks:
            block.build(shape)

    def call(self, x):
        first, second, third = self.blocks
        return x + third(second(first(x)))


class Weighing(Blocks):
    def build(self, shape):
        super().build(shape)
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return self.scale * super().call(x)


class Training(Blocks):
    def call(self, x, training=False):
        return super().call(x) if training else x


class Losing(Blocks):
    def call(self, x):
        self.add_loss(keras.ops.mean(x))
        return super().call(x)


class Reading(Blocks):
    def call(self, x):
        return super().call(x) * tf.reduce_mean(x)


class Masked(layers.Layer):
    supports_masking = True

    def build(self, shape):
        self.dense = layers.Dense(4, name="inner")

    def call(self, x):
        return self.dense(x)


def network(kind=Blocks, **options):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((4,))
    x = layers.Dense(4, name="before")(x)
    x = kind(name="middle", **options)(x)
    return keras.Model(inputs, layers.Dense(3, name="after")(x))


def data(count=16):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 4)).astype("float32")
    return x, (x.sum(axis=1) > 0).astype("int32")


def trained(model):
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(*data(), batch_size=8, epochs=10, shuffle=False, verbose=0)
    return [np.array(v) for v in sorted(model.variables, key=lambda v: v.path)]


def test_a_model_is_cut_inside_its_composite_layer_and_trains_as_it_would():
    whole = trained(network())
    model = unfold(network(), "middle")

    client, _ = keras_split.compile(
        model, ["middle_0", "middle_2"], quantization="float32"
    )
    trained(client)

    values = [
        np.array(v) for v in sorted(model.variables, key=lambda v: v.path)
    ]
    assert largest_difference(values, whole) < 1e-5
    names = [layer.name for layer in model.layers]
    assert "middle" not in names and {"middle_0", "middle_2"} < {*names}


def test_it_is_saved_and_loaded_as_any_model(tmp_path):
    model = unfold(network(), ["middle"])
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    x, _ = data()
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-6)


def test_two_are_opened_and_a_third_stays():
    x = inputs = keras.Input((4,))
    for name in ("one", "two", "three"):
        x = Blocks(name=name)(x)
    model = unfold(keras.Model(inputs, x), ["one", "three"])

    names = {layer.name for layer in model.layers}
    assert {"one_0", "two", "three_2"} <= names and "two_0" not in names


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Weighing, "weights or seeds of its own"),
        (Training, "does something else in training"),
        (Losing, "computes something else|symbolic tensors"),
        (Reading, "symbolic tensors"),
    ],
)
def test_a_layer_that_is_more_than_its_parts_is_refused(kind, words):
    with pytest.raises(CutError, match=words):
        unfold(network(kind), "middle")


def test_a_loss_of_its_activity_is_refused():
    with pytest.raises(CutError, match="a loss of its own"):
        unfold(network(activity_regularizer="l2"), "middle")


def test_a_mask_is_refused():
    ids = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 4, mask_zero=True)(ids)
    model = keras.Model(ids, layers.LSTM(3)(Masked(name="masked")(x)))

    with pytest.raises(CutError, match="is given a mask"):
        unfold(model, "masked")


def test_names_that_are_none_or_twice_are_refused():
    with pytest.raises(CutError, match="middle. Received: 'before'"):
        unfold(network(), "before")
    keras.utils.clear_session()
    x = inputs = keras.Input((4,))
    for name in ("one", "two"):
        x = Masked(name=name)(x)
    with pytest.raises(CutError, match="names of their own"):
        unfold(keras.Model(inputs, x), ["one", "two"])


def test_a_length_must_be_known():
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, Masked(name="masked")(inputs))

    with pytest.raises(CutError, match="fix_length"):
        unfold(model, "masked")


def test_a_cut_inside_says_what_to_do():
    with pytest.raises(CutError, match=r"unfold\(model, 'middle'\)"):
        keras_split.compile(network(), ["middle_0", "after"])
