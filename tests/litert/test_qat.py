import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_split
from keras_split.errors import BackendError
from keras_split.errors import ExportError
from keras_split.litert import tf_keras_bridge
from keras_split.litert.qat import quantize_aware
from tests import nets

# Not `importorskip`: that imports it, and what it changes is tested here.
if importlib.util.find_spec("tensorflow_model_optimization") is None:
    pytest.skip("needs keras-split[qat]", allow_module_level=True)

X, _ = nets.images(64)


def _client(build=nets.plain, cut=("a_relu", "b_drop")):
    model = nets.built(build)
    client, _ = keras_split.compile(model, list(cut), quantization="int8")
    return client


def _mobile():
    layers = keras.layers
    x = image = keras.Input((8, 8, 2))
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="conv_bn")(x)
    x = layers.ReLU(6.0, name="conv_relu")(x)
    x = layers.DepthwiseConv2D(3, use_bias=False, name="deep")(x)
    x = layers.BatchNormalization(name="deep_bn")(x)
    x = layers.ReLU(6.0, name="deep_relu")(x)
    x = layers.Conv2D(8, 1, name="body")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="out")(x))


@pytest.mark.slow
def test_trained_weights_return_and_err_less():
    client = _client(_mobile, ("deep_relu", "pool"))
    before = nets.values_of(client)

    fits = quantize_aware(client, X, epochs=6)

    assert fits["head"].after < fits["head"].before
    assert fits["head"].float_layers == ()
    changed = {
        v.path
        for v, old in zip(client.variables, before, strict=True)
        if not np.array_equal(v.numpy(), old)
    }
    assert {"conv/kernel", "deep/kernel"} <= changed
    assert not any("_bn/" in path for path in changed)


@pytest.mark.slow
def test_outputs_stay_close_to_what_they_were():
    client = _client()
    before = client.predict(X, verbose=0)

    quantize_aware(client, X)

    after = client.predict(X, verbose=0)
    assert np.abs(after - before).max() < 0.05


def test_layers_that_stay_float_are_named(caplog):
    client = _client(nets.transfer, ("base/relu1", "pool"))

    fits = quantize_aware(client, X, batch_size=32)

    assert fits["head"].float_layers == ("'scale' (Rescaling)",)
    assert "'scale' (Rescaling)" in caplog.text
    assert fits["tail"].float_layers == ()


@pytest.mark.slow
def test_a_tail_with_skips_and_inputs_of_its_own_is_trained():
    client = _client(nets.two_by_two, ("a", "b"))
    extra = X[:, 0, :3, 0]

    fits = quantize_aware(client, [X[..., :1], extra], epochs=4)

    assert fits["tail"].after <= fits["tail"].before < 0.1


def test_a_layer_without_a_twin_is_refused_and_nothing_moves():
    def build():
        x = image = keras.Input((8, 8, 2))
        x = keras.layers.Conv2D(4, 3, name="a")(x)
        x = keras.layers.Lambda(lambda v: v * 2.0, name="mine")(x)
        x = keras.ops.square(x)
        x = keras.layers.Conv2D(4, 1, name="end")(x)
        x = keras.layers.Conv2D(4, 3, name="b")(x)
        x = keras.layers.Flatten(name="flat")(x)
        return keras.Model(image, keras.layers.Dense(3)(x))

    client = _client(build, ("end", "b"))
    before = nets.values_of(client)

    with pytest.raises(ExportError) as caught:
        quantize_aware(client, X)

    assert "'mine'" in str(caught.value) and "Square" in str(caught.value)
    assert nets.largest_difference(before, nets.values_of(client)) == 0


def test_weights_that_are_not_finite_are_not_taken():
    client = _client()
    before = nets.values_of(client)

    with pytest.raises(ExportError, match="finite"):
        quantize_aware(client, X, learning_rate=float("nan"))

    assert nets.largest_difference(before, nets.values_of(client)) == 0


def test_a_model_that_is_cut_once_is_refused():
    client = _client(nets.dense, ("a",))

    with pytest.raises(ExportError, match="cut twice"):
        quantize_aware(client, X[:, 0, :4, 0])


def test_a_missing_optimizer_toolkit_is_named(monkeypatch):
    name = "tensorflow_model_optimization"
    monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(
        BackendError, match=r"pip install 'tensorflow-model-opt"
    ):
        quantize_aware(_client(), X)


@pytest.mark.slow
@pytest.mark.parametrize("given", [None, "0"])
def test_the_environment_stays_as_it_is(given):
    program = (
        "import os, tensorflow as tf\n"
        "from keras_split.litert import tf_keras_bridge\n"
        "before = os.environ.get('TF_USE_LEGACY_KERAS')\n"
        "tfmot, tf_keras = tf_keras_bridge.load()\n"
        "import keras\n"
        "assert os.environ.get('TF_USE_LEGACY_KERAS') == before\n"
        "assert tf.keras.Model is keras.Model is not tf_keras.Model\n"
        "assert tf.keras.layers.Dense is keras.layers.Dense\n"
    )
    environment = dict(os.environ)
    environment.pop("TF_USE_LEGACY_KERAS", None)
    if given is not None:
        environment["TF_USE_LEGACY_KERAS"] = given

    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "build", [nets.plain, nets.unet, nets.residual, nets.transfer, _mobile]
)
def test_a_twin_computes_the_same(build):
    _, tf_keras = tf_keras_bridge.load()
    model = nets.built(build)
    inputs = nets.random_inputs(model)

    twin = tf_keras_bridge.build_twin(model, tf_keras)

    outputs = [np.asarray(model(inputs[0], training=False))]
    assert twin.difference(inputs, outputs) < 1e-5
    assert isinstance(twin.model, tf_keras.Model)
    assert not isinstance(model, tf_keras.Model)


def test_keras_is_untouched_here():
    tf_keras_bridge.load()

    assert tf.keras.Model is keras.Model
    assert "TF_USE_LEGACY_KERAS" not in os.environ
