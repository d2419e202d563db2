"""What is written, what it says, and what is refused."""

import hashlib
import json
import traceback

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import keras_split
from keras_split.errors import ExportError
from keras_split.litert.contents import operations
from tests import nets

LOSS = "sparse_categorical_crossentropy"
SIGNATURES = {
    "head_forward",
    "tail_step",
    "head_backward",
    "head_infer",
    "tail_infer",
    "tail_evaluate",
    "get_state",
    "set_state",
}


def client_of(model, cut, **options):
    client, _ = keras_split.compile(model, cut, **options)
    client.compile(keras.optimizers.SGD(0.1, momentum=0.9), LOSS)
    return client


@pytest.fixture(scope="module")
def client():
    return client_of(nets.built(nets.transfer), ["base/relu1", "base/relu2"])


@pytest.fixture(scope="module")
def exported(client, tmp_path_factory):
    """Where a client of batches of 2 was written, and what was said of it."""
    path = tmp_path_factory.mktemp("exported") / "to" / "client.tflite"
    return path, client.export(path, batch_size=2)


def with_layer(layer, shape=(8, 8, 2)):
    """A model with `layer` in its head."""
    image = keras.Input(shape)
    x = layers.Flatten()(layer(layers.Dense(2, name="first")(image)))
    x = layers.Dense(4, name="a")(x)
    x = layers.Dense(4, name="b")(x)
    return keras.Model(image, layers.Dense(3, activation="softmax")(x))


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_layers_may_have_any_name(tmp_path, mode):
    x = values = keras.Input((4,), name="größe")
    x = layers.Dense(5, name="erste größe")(x)
    x = layers.Dense(6, name="b")(layers.Dropout(0.1, name="(drop)")(x))
    last = [layers.Dense(3, activation="softmax", name="1 out")]
    x = keras.Sequential([keras.Input((6,)), *last], name="_ende ü")(x)
    cut, path = ["erste größe", "b"], tmp_path / "client.tflite"
    client = client_of(keras.Model(values, x), cut, quantization="float32")

    about = client.export(path, mode=mode, batch_size=2)

    assert about["inputs"][0]["name"] == "größe"
    x = np.ones((2, 4), "float32")
    run = Interpreter(model_path=str(path)).get_signature_runner("head_infer")
    np.testing.assert_allclose(
        run(x_0=x)["smashed_0_codes"], client.head([x]), atol=1e-6
    )
    assert client.head.layers[-1].name == "erste größe"


def test_both_files_are_written_and_agree(client, exported):
    path, about = exported

    content = path.read_bytes()
    text = path.with_suffix(".json").read_text()
    assert json.loads(text) == about
    assert about["tflite_sha256"] == hashlib.sha256(content).hexdigest()
    assert set(about["signatures"]) == SIGNATURES
    assert about["contract"]["fingerprint"] == client.contract.fingerprint
    assert about["optimizer"]["name"] == "SGD"
    assert about["optimizer"]["learning_rate"] == pytest.approx(0.1)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "client.json",
        "client.tflite",
    ]


def test_signatures_are_described_as_they_are(exported):
    path, about = exported

    interpreter = Interpreter(model_path=str(path))
    runner = interpreter.get_signature_runner("tail_step")
    details = runner.get_input_details()
    described = about["signatures"]["tail_step"]["inputs"]
    assert {row["name"] for row in described} == set(details)
    for row in described:
        real = details[row["name"]]
        assert row["shape"] == list(real["shape"])
        assert row["dtype"] == np.dtype(real["dtype"]).name


def test_operations_are_litert_s_own(exported):
    path, _ = exported

    found = operations(path.read_bytes())

    assert found["ASSIGN_VARIABLE"] > 0
    assert not [n for n in found if "CUSTOM" in n or n.startswith("FLEX")]


@pytest.mark.usefixtures("exported")
def test_a_client_keeps_training_after_its_export(client):
    x, y = nets.images(8)

    history = client.fit(x, y, epochs=1, verbose=0)

    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.slow
def test_optimizer_and_loss_may_be_given(tmp_path):
    client, _ = keras_split.compile(nets.built(nets.dense), ["a", "b"])

    about = client.export(
        tmp_path / "client.tflite", optimizer="adam", loss=LOSS
    )

    assert about["batch_size"] == 8
    assert about["optimizer"]["name"] == "Adam"
    slots = [row for row in about["state"] if row["kind"] == "slot"]
    weights = [row for row in about["state"] if row["kind"] == "weight"]
    assert len(slots) == 2 * len(weights) == 8


def test_outputs_by_name_keep_their_losses(tmp_path):
    client, _ = keras_split.compile(nets.built(nets.two_by_two), ["a", "flat"])
    client.compile(
        "sgd",
        {"size": "mse", "kind": LOSS},
        loss_weights={"kind": 2.0, "size": 0.5},
    )

    about = client.export(tmp_path / "client.tflite", batch_size=2)

    rows = {row["name"]: row for row in about["outputs"]}
    assert rows["kind"]["loss"] == LOSS
    assert rows["kind"]["label"] == {"shape": [], "dtype": "int32"}
    assert rows["size"]["loss"] == "mean_squared_error"
    assert rows["size"]["loss_weight"] == 0.5
    assert [row["half"] for row in about["inputs"]] == ["head", "tail"]


def test_outputs_in_dicts_of_dicts_keep_their_losses(tmp_path):
    inputs = keras.Input((4,))
    x = layers.Dense(3, name="b")(layers.Dense(4, name="a")(inputs))
    one, two, three = (layers.Dense(n, name=f"d{n}")(x) for n in (1, 2, 3))
    model = keras.Model(inputs, {"n": {"one": one, "two": two}, "k": three})
    client, _ = keras_split.compile(model, ["a", "b"])
    client.compile(
        "sgd",
        {"n": {"one": "mae", "two": "mse"}, "k": LOSS},
        loss_weights={"k": 2.0},
    )

    about = client.export(tmp_path / "client.tflite", batch_size=2)

    rows = {
        row["name"]: (row["shape"], row["loss"], row["loss_weight"])
        for row in about["outputs"]
    }
    assert rows == {
        "n/one": ([1], "mean_absolute_error", 1.0),
        "n/two": ([2], "mean_squared_error", 1.0),
        "k": ([3], LOSS, 2.0),
    }


REFUSED = {
    "noise": lambda: with_layer(layers.GaussianNoise(0.1, name="noise")),
    "lstm": lambda: with_layer(layers.LSTM(3, name="lstm"), (6, 2)),
    "volume": lambda: with_layer(
        layers.Conv3D(2, 2, name="volume"), (4, 4, 4, 2)
    ),
    "mirror": lambda: with_layer(layers.RandomFlip(name="mirror")),
    "groups": lambda: with_layer(
        layers.Conv1D(4, 2, groups=2, name="groups"), (6, 4)
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        "noise",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in REFUSED
            if name != "noise"
        ),
    ],
)
def test_what_does_not_convert_is_named(name, tmp_path, capfd):
    client = client_of(REFUSED[name](), ["a", "b"])

    with pytest.raises(ExportError, match="built in") as caught:
        client.export(tmp_path / "client.tflite", batch_size=2)

    assert repr(name) in str(caught.value)
    assert not list(tmp_path.iterdir())
    # Nor pages of MLIR, which the converter writes and raises.
    assert capfd.readouterr().err == ""
    shown = "".join(traceback.format_exception(caught.value))
    assert len(shown) < 3000 and "loc(" not in shown


def test_a_variable_of_nobody_is_refused(tmp_path):
    counter = tf.Variable(1.0, name="counter")

    @keras.saving.register_keras_serializable("test")
    class Counting(layers.Layer):
        def call(self, inputs):
            return inputs * counter

    client = client_of(with_layer(Counting()), ["a", "b"])

    with pytest.raises(ExportError, match="counter"):
        client.export(tmp_path / "client.tflite", batch_size=2)


def test_a_depthwise_layer_that_would_hang_is_refused(tmp_path):
    wide = layers.DepthwiseConv2D(1, depth_multiplier=2417, name="wide")
    client = client_of(with_layer(wide, (2, 2, 2)), ["a", "b"])

    with pytest.raises(ExportError, match=r"4,832 .* 4,834 in 'wide'"):
        client.export(tmp_path / "client.tflite", batch_size=1)


def shared():
    layer = layers.BatchNormalization(name="twice")
    x = values = keras.Input((4,))
    x = layers.Dense(4, name="a")(layer(x))
    x = layers.Dense(4, name="b")(x)
    return keras.Model(values, layers.Dense(3)(layer(x)))


def active():
    layer = layers.Dense(4, activity_regularizer="l2", name="busy")
    return with_layer(layer)


@pytest.mark.parametrize(
    "build, cut, word",
    [
        (nets.dense, ["a"], "cut twice"),
        (
            shared,
            ["a", "b"],
            "twice/moving_mean', 'twice/moving_variance' in both",
        ),
        (active, ["a", "b"], "activity regularizer"),
    ],
)
def test_halves_that_cannot_train_alone(build, cut, word, tmp_path):
    client = client_of(build(), cut)

    with pytest.raises(ExportError, match="Received") as caught:
        client.export(tmp_path / "client.tflite", batch_size=2)

    assert word in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_half_precision_is_refused(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    client = client_of(nets.dense(), ["a", "b"])

    with pytest.raises(ExportError, match="mixed_float16"):
        client.export(tmp_path / "client.tflite", batch_size=2)


@pytest.mark.parametrize(
    "path, options, word",
    [
        ("client.bin", {}, r"\.tflite"),
        ("client.tflite", {"batch_size": -1}, "batch_size"),
        ("client.tflite", {"mode": "learn"}, "mode"),
        ("client.tflite", {"format": "onnx"}, "format"),
        ("client.tflite", {"optimizer": "nobody"}, "nobody"),
        ("client.tflite", {"optimizer": "rmsprop"}, "RMSprop"),
    ],
)
def test_wrong_arguments(client, path, options, word, tmp_path):
    with pytest.raises(ExportError, match=word):
        client.export(tmp_path / path, **options)

    assert not list(tmp_path.iterdir())


def test_a_client_without_loss(tmp_path):
    client, _ = keras_split.compile(nets.built(nets.dense), ["a", "b"])

    with pytest.raises(ExportError, match="client.compile"):
        client.export(tmp_path / "client.tflite", optimizer="sgd")


def test_losses_and_weights_of_unknown_outputs(tmp_path):
    client, _ = keras_split.compile(nets.built(nets.dense), ["a", "b"])
    client.compile("sgd", "mse", loss_weights={"nobody": 2.0})

    with pytest.raises(ExportError, match="Received: nobody"):
        client.export(tmp_path / "client.tflite")


def test_a_failed_write_leaves_the_old_files(tmp_path, monkeypatch):
    client = client_of(nets.built(nets.dense), ["a", "b"])
    path = tmp_path / "client.tflite"
    before = b"an older client", b"what was said of it"
    path.write_bytes(before[0])
    path.with_suffix(".json").write_bytes(before[1])
    monkeypatch.setattr("os.fdopen", _disk_full)

    with pytest.raises(OSError, match="No space"):
        client.export(path, batch_size=4)

    after = path.read_bytes(), path.with_suffix(".json").read_bytes()
    assert before == after
    assert len(list(tmp_path.iterdir())) == 2


def _disk_full(handle, mode):
    raise OSError(28, "No space left on device")
