"""What is defended in Keras is defended in the phone's file."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_split
from keras_split.defenses import Chain
from keras_split.defenses import Clip
from keras_split.defenses import GaussianMechanism
from keras_split.defenses import GaussianNoise
from keras_split.defenses import GradientNoise
from keras_split.defenses import LaplaceMechanism
from keras_split.defenses import NoPeek
from keras_split.defenses import RandomizedResponse
from tests import nets
from tests.defenses.scaled import Scaled
from tests.litert.phone import Phone

BOTH = ("smashed", "features_grad")
SIZE = 4
ROWS = (4, 3, 4)
RATE = 0.05


class Recorded(keras_split.SplitStrategy):
    def __init__(self):
        super().__init__()
        self.smashed = []

    def forward(self, smashed):
        self.smashed.append(smashed[0])
        return super().forward(smashed)

    def infer(self, smashed):
        self.smashed.append(smashed[0])
        return super().infer(smashed)


def one_product():
    """A head whose outputs are one product each: no sum, no last bits."""
    x = values = keras.Input((1,), name="values")
    x = layers.Dense(6, use_bias=False, name="a")(x)
    x = layers.Dense(5, activation="tanh", name="b")(x)
    return keras.Model(values, layers.Dense(3, name="c")(x))


def of_vectors():
    """As `nets.dense`, without the softmax."""
    x = values = keras.Input((4,), name="values")
    x = layers.Dense(5, activation="tanh", name="a")(x)
    x = layers.Dense(6, activation="tanh", name="b")(x)
    return keras.Model(values, layers.Dense(3, name="c")(x))


CHAINS = {
    "float32": [GaussianNoise(0.05, BOTH), Scaled()],
    "int8": [
        Clip(3.0, BOTH),
        GaussianMechanism(2.0, 0.05, BOTH),
        GradientNoise(0.1),
        LaplaceMechanism(9.0, 0.01, BOTH),
    ],
}


SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def halves(quantization, build=one_product, cut=("a", "b"), chain=None):
    client, _ = keras_split.compile(
        nets.built(build),
        list(cut),
        quantization=quantization,
        fused_batchnorm=False,
        defenses=Chain(chain or CHAINS[quantization], seed=7),
    )
    client.compile(
        keras.optimizers.SGD(RATE, momentum=0.9), SPARSE, strategy=Recorded()
    )
    return client


def batches():
    rng = np.random.default_rng(0)
    for count in ROWS:
        x = rng.normal(size=(count, 1)).astype("float32")
        yield x, rng.integers(0, 3, count).astype("int32")


@pytest.mark.slow
@pytest.mark.parametrize(
    "quantization", [pytest.param("float32", marks=pytest.mark.long), "int8"]
)
def test_a_phone_draws_and_learns_what_keras_does(quantization, tmp_path):
    path = tmp_path / "client.tflite"
    expected = halves(quantization)
    for x, y in batches():
        expected.train_on_batch(x, y)
    predicted = expected.predict(x, verbose=0)
    other = halves(quantization)
    other.export(path, batch_size=SIZE)
    other.connect()
    phone = Phone(path, other.strategy)

    for x, y in batches():
        phone.step([x], [y], rate=RATE)

    here, there = other.strategy.smashed, expected.strategy.smashed
    assert here[0].codes.tobytes() == there[0].codes.tobytes()
    if here[0].scales is not None:
        assert here[0].scales.tobytes() == there[0].scales.tobytes()
    state = phone.state()
    for variable in expected.trainable_variables:
        found = state[variable.path, "weight"]
        tolerance = 1e-5 if quantization == "float32" else 1e-3
        np.testing.assert_allclose(found, variable, atol=tolerance)
    inferred = phone.call("head_infer", x_0=x)
    smashed = phone._tensors("smashed", inferred, SIZE, "activations")
    features, _ = other.strategy.infer(smashed)
    made = phone.call("tail_infer", **phone._parts("features", features))
    np.testing.assert_allclose(made["prediction_0"], predicted, atol=0.02)
    other.close()


def test_client_json_names_the_defenses_and_not_their_seed(tmp_path):
    client = halves("int8")

    client.export(tmp_path / "client.tflite", mode="infer")

    about = json.loads((tmp_path / "client.json").read_text())
    assert about["defenses"] == client.defenses.describe()
    assert "seed" not in about["defenses"][0]["config"]


def drawn_of(client, x, y):
    given = tf.constant(y), SPARSE, (3,), [tf.constant(x)]
    return client.defenses.answers(*given).numpy()


@pytest.mark.slow
def test_a_phone_draws_the_labels_that_keras_draws(tmp_path):
    path = tmp_path / "client.tflite"
    chain = [RandomizedResponse(0.3)]
    expected = halves("float32", chain=chain)
    other = halves("float32", chain=chain)
    other.export(path, batch_size=SIZE)
    other.connect()
    phone = Phone(path, other.strategy)

    for x, y in batches():
        drawn = drawn_of(expected, x, y)
        before = expected.predict(x, verbose=0)
        kept = expected.train_on_batch(x, y)
        told = phone.step([x], [y], rate=RATE)

        np.testing.assert_allclose(told["loss"], kept, rtol=1e-5)
        right = (before.argmax(axis=1) == y).sum()
        assert told["correct_0"] == right
    assert (drawn != y).any()
    state = phone.state()
    for variable in expected.trainable_variables:
        found = state[variable.path, "weight"]
        np.testing.assert_allclose(found, variable, atol=1e-6)
    other.close()


@pytest.mark.slow
def test_a_phone_learns_from_a_loss_of_its_head_as_keras_does(tmp_path):
    path = tmp_path / "client.tflite"
    expected = halves("float32", of_vectors, chain=[NoPeek(2.0)])
    other = halves("float32", of_vectors, chain=[NoPeek(2.0)])
    other.export(path, batch_size=SIZE)
    other.connect()
    phone = Phone(path, other.strategy)
    x, y = nets.vectors(sum(ROWS))

    first = 0
    for count in ROWS:
        rows = slice(first, first + count)
        first += count
        kept = expected.train_on_batch(x[rows], y[rows])
        told = phone.step([x[rows]], [y[rows].astype("int32")], rate=RATE)
        np.testing.assert_allclose(told["loss"], kept, rtol=1e-5)

    state = phone.state()
    for variable in expected.trainable_variables:
        found = state[variable.path, "weight"]
        np.testing.assert_allclose(found, variable, atol=1e-5)
    other.close()
