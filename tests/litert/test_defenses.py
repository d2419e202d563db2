"""What is defended in Keras is defended in the phone's file."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from keras_split.defenses import Chain
from keras_split.defenses import GaussianNoise
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


def halves(quantization, build=one_product, cut=("a", "b")):
    client, _ = keras_split.compile(
        nets.built(build),
        list(cut),
        quantization=quantization,
        fused_batchnorm=False,
        defenses=Chain([GaussianNoise(0.05, BOTH), Scaled()], seed=7),
    )
    client.compile(
        keras.optimizers.SGD(RATE, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=Recorded(),
    )
    return client


def batches():
    rng = np.random.default_rng(0)
    for count in ROWS:
        x = rng.normal(size=(count, 1)).astype("float32")
        yield x, rng.integers(0, 3, count).astype("int32")


@pytest.mark.parametrize(
    "quantization", [pytest.param("float32", marks=pytest.mark.slow), "int8"]
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
