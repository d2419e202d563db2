import keras
import numpy as np
import pytest

import keras_split
from keras_split.device.description import Description
from keras_split.device.half_vector import HalfVector
from keras_split.device.model import Model
from keras_split.models import half_vector
from tests import nets


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A Keras client and its file: statistics and slots in both parts."""
    client, _ = keras_split.compile(
        nets.built(nets.plain), ["a_relu", "b_drop"], quantization="float32"
    )
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    client.compile(optimizer, "sparse_categorical_crossentropy")
    path = tmp_path_factory.mktemp("half") / "client.tflite"
    client.export(path, batch_size=4)
    return client, path


def device_half(path, batchnorm="average"):
    description = Description.read(path)
    model = Model(path, description, 1)
    return model, HalfVector(model, description, batchnorm)


@pytest.mark.parametrize("batchnorm", ["average", "local"])
def test_a_device_has_the_vector_of_a_keras_client(exported, batchnorm):
    client, path = exported
    _, half = device_half(path, batchnorm)

    expected = half_vector.HalfVector(client, batchnorm)

    assert half.layout == expected.layout
    np.testing.assert_array_equal(half.get(), expected.get())


def test_a_vector_that_is_put_leaves_the_slots_of_the_optimizer(exported):
    model, half = device_half(exported[1])
    slots = {name: a + 1 for name, a in model.get_state().items()}
    model.set_state(slots)
    vector = np.arange(half.size, dtype="float32")

    half.set(vector)

    kinds = {t.name: t.kind for t in Description.read(exported[1]).state}
    np.testing.assert_array_equal(half.get(), vector)
    for name, value in model.get_state().items():
        if kinds[name] == "slot":
            np.testing.assert_array_equal(value, slots[name])


class Times(keras.layers.Layer):
    """Has a weight that is a number."""

    def build(self, shape):
        self.by = self.add_weight(shape=(), initializer="ones", name="by")

    def call(self, x):
        return x * self.by


def test_a_weight_that_is_a_number_is_put_back(tmp_path):
    x = values = keras.Input((4,))
    for name in ("a", "b", "c"):
        x = keras.layers.Dense(3, name=name)(Times()(x))
    client, _ = keras_split.compile(
        keras.Model(values, x), ["a", "b"], quantization="float32"
    )
    client.compile("sgd", "mse")
    client.export(tmp_path / "client.tflite", batch_size=2)
    _, half = device_half(tmp_path / "client.tflite")
    vector = np.arange(half.size, dtype="float32")

    half.set(vector)

    np.testing.assert_array_equal(half.get(), vector)
