"""Embeddings that look up in the head, and others of them in the tail."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from tests import nets
from tests.litert.phone import Phone

SIZE = 4
RATE = 0.01


def network():
    """A layer of two matrices, one for each half, as Llama's is."""
    ids = keras.Input((5,), dtype="int32", name="ids")
    both = layers.ReversibleEmbedding(6, 4, tie_weights=False, name="both")
    x = layers.Dense(4, "tanh", name="a")(both(ids))
    x = layers.Dense(4, "tanh", name="b")(x)
    return keras.Model(ids, both(x, reverse=True))


def halves():
    client, _ = keras_split.compile(
        nets.built(network), ["a", "b"], quantization="float32"
    )
    client.compile(
        keras.optimizers.Adam(RATE, epsilon=1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return client


@pytest.mark.slow
def test_rows_that_are_looked_up_twice_are_squared_one_by_one(tmp_path):
    ids = np.random.default_rng(0).integers(0, 6, (SIZE, 5)).astype("int32")
    labels = np.roll(ids, -1, axis=1)
    client, other = halves(), halves()
    client.export(tmp_path / "client.tflite", batch_size=SIZE)

    other.connect()
    phone = Phone(tmp_path / "client.tflite", other.strategy)
    made = [phone.step([ids], [labels], rate=RATE)["loss"] for _ in range(5)]

    expected = [client.train_on_batch(ids, labels) for _ in range(5)]
    np.testing.assert_allclose(made, expected, 1e-5)
    variables = {variable.path: variable for variable in client.variables}
    for (path, _), value in phone.state().items():
        np.testing.assert_allclose(value, variables[path], 0, 1e-5)
