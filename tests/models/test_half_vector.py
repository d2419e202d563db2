import json

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from keras_split.models.half_vector import HalfVector
from keras_split.protocol.half_layout import HalfLayout
from keras_split.protocol.half_layout import HalfTensor
from tests import nets

CUT = ["a_relu", "b_drop"]


def made(build=nets.plain, cut=CUT, seed=0, optimizer="adam"):
    client, _ = keras_split.compile(
        nets.built(build, seed), cut, quantization="float32"
    )
    client.compile(optimizer, "sparse_categorical_crossentropy")
    client.optimizer.build(client.trainable_variables)
    return client


def test_a_half_is_another_phones_after_its_vector_was_put():
    one, other = made(seed=0), made(seed=1)
    a, b = HalfVector(one), HalfVector(other)

    b.set(a.get())

    assert a.layout == b.layout and a.size == b.get().size
    for model, same in ((one.head, other.head), (one.tail, other.tail)):
        for v, w in zip(model.weights, same.weights, strict=True):
            if "seed" not in v.path:
                np.testing.assert_array_equal(v, w)


def test_local_batch_normalization_stays():
    one, other = made(seed=0), made(seed=1)
    one.head.get_layer("a_bn").gamma.assign(np.full(4, 7.0))

    half = HalfVector(other, "local")
    half.set(HalfVector(one, "local").get())

    assert not any("bn" in variable.path for variable in half.variables)
    assert other.head.get_layer("a_bn").gamma.numpy().tolist() == [1.0] * 4


def test_with_the_optimizer_steps_and_slots_are_another_phones_too():
    one, other = made(), made(optimizer=keras.optimizers.Adam(0.5))
    one.optimizer.iterations.assign(5_000_001)
    one.optimizer.variables[2].assign_add(
        np.ones(one.optimizer.variables[2].shape)
    )
    a, b = (HalfVector(client, optimizer=True) for client in (one, other))

    b.set(a.get())

    assert a.layout == b.layout and a.weights < a.size
    for v, w in zip(
        one.optimizer.variables, other.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(v, w)


def test_another_optimizer_is_another_half():
    layouts = {
        HalfVector(made(optimizer=optimizer), optimizer=True).layout
        for optimizer in (
            *("adam", "sgd"),
            keras.optimizers.Adam(beta_1=0.5),
        )
    }

    assert len(layouts) == 3


def test_other_frozen_weights_are_another_half():
    clients = made(seed=0), made(seed=1)
    for client in clients:
        client.head.get_layer("a").trainable = False

    one, other = map(HalfVector, clients)

    assert one.size == other.size and one.layout != other.layout


@keras.saving.register_keras_serializable("tests")
class Counts(layers.Layer):
    """Keeps a mean of what it sees."""

    def build(self, shape):
        self.mean = self.add_weight(shape=(), trainable=False, name="mean")

    def call(self, x):
        self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(x))
        return x


def test_what_a_layer_of_ones_own_keeps_is_averaged_too():
    def build():
        x = values = keras.Input((4,), name="values")
        x = Counts(name="counts")(layers.Dense(5, name="a")(x))
        x = layers.Dense(6, name="b")(x)
        return keras.Model(values, layers.Dense(3, name="c")(x))

    half = HalfVector(made(build, ["counts", "b"]))

    assert [v.name for v in half.variables][:3] == ["kernel", "bias", "mean"]


@pytest.mark.parametrize(("batchnorm", "count"), [("average", 7), ("local", 0)])
def test_all_that_batch_renormalization_moves_is_averaged(batchnorm, count):
    def build():
        x = values = keras.Input((4,), name="values")
        x = layers.Dense(5, name="a")(x)
        x = layers.BatchNormalization(renorm=True, name="norm")(x)
        x = layers.Dense(6, name="b")(x)
        return keras.Model(values, layers.Dense(3, name="c")(x))

    client = made(build, ["norm", "b"])
    half = HalfVector(client, batchnorm)
    client.fit(*nets.vectors(8), verbose=0)

    assert sum("norm" in v.path for v in half.variables) == count
    assert HalfVector(client, batchnorm).layout == half.layout


@pytest.mark.slow
def test_a_device_makes_the_same_vector_of_its_description(tmp_path):
    client = made(optimizer="sgd")
    client.head.get_layer("a").trainable = False
    client.compile("sgd", "sparse_categorical_crossentropy")

    client.export(tmp_path / "client.tflite", batch_size=2)

    described = json.loads((tmp_path / "client.json").read_text())
    tensors = [
        HalfTensor(
            row["name"].partition("_")[0],
            row["kind"],
            tuple(row["shape"]),
            row["variable"],
        )
        for row in described["state"]
        if row["kind"] != "slot"
    ]
    for batchnorm in ("average", "local"):
        layout = HalfLayout(tensors, batchnorm, described["frozen"])
        assert layout.digest == HalfVector(client, batchnorm).layout
