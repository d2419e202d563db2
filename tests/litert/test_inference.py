import functools
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema

import keras_split
from keras_split.compression.quantize import quantize
from keras_split.compression.rules import Quantization
from keras_split.errors import BackendError
from keras_split.errors import ExportError
from keras_split.errors import TransportError
from keras_split.litert.calibration import observe
from keras_split.litert.contents import operations
from keras_split.litert.inference import export_inference
from keras_split.litert.precision import CUT_SCOPE
from keras_split.litert.signature_io import SignatureIO
from keras_split.litert.signature_io import part_names
from tests import nets

X, Y = nets.images(64)
CUT = ["a_relu", "b_drop"]


@pytest.fixture(scope="module")
def model():
    """`nets.plain` with statistics of real batches."""
    model = nets.built(nets.plain)
    for _ in range(100):
        model(X, training=True)
    return model


@pytest.fixture(scope="module")
def client(model):
    """Its client, with float32 on the wire."""
    return _client(model, "float32")


def _client(model, quantization="int8", cut=CUT):
    return keras_split.compile(model, cut, quantization=quantization)[0]


def _open(path):
    interpreter = Interpreter(model_path=str(path))
    return SimpleNamespace(
        head=interpreter.get_signature_runner("head_infer"),
        tail=interpreter.get_signature_runner("tail_infer"),
    )


def _run(client, path, x):
    """Smashed data and predictions of a LiteRT half, one batch."""
    runners = _open(path)
    boundary = SignatureIO(client)
    smashed, features = boundary.smashed, boundary.features
    made = runners.head(**{f"x_{i}": x[i] for i in client.wiring.head_inputs})
    parts = [made[n] for n in part_names("smashed", smashed)]
    client.connect()
    reply, _ = client.strategy.infer(smashed.wrap(parts))
    names = part_names("features", features)
    given = dict(zip(names, features.unwrap(reply), strict=True))
    for name in made:
        if name.startswith("skip"):
            given[name] = made[name]
    for number in client.wiring.tail_inputs:
        given[f"x_{number}"] = x[number]
    answer = runners.tail(**given)
    client.close()
    return parts, [answer[name] for name in sorted(answer)]


def _relative(made, expected):
    return np.sqrt(np.mean((made - expected) ** 2)) / np.std(expected)


def test_a_float_file_computes_what_keras_does(client, tmp_path):
    path = tmp_path / "client.tflite"

    export_inference(client, path, batch_size=8)

    parts, outputs = _run(client, path, [X[:8]])
    smashed = client.head([X[:8]], training=False)
    np.testing.assert_allclose(
        parts[0], np.reshape(smashed, (8, -1)), atol=1e-5
    )
    expected = client.predict(X[:8], verbose=0)
    np.testing.assert_allclose(outputs[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "cut", "x"),
    [
        (nets.unet, ["pool2", "up2"], [X[:4, ..., :1]]),
        (nets.two_by_two, ["a", "b"], [X[:4, ..., :1], X[:4, 0, :3, 0]]),
        (nets.transfer, ["base/relu1", "pool"], [X[:4]]),
        (nets.dense, ["a", "b"], [X[:4, 0, :4, 0]]),
    ],
)
def test_other_shapes_of_models_export_too(build, cut, x, tmp_path):
    client = _client(nets.built(build), "int8", cut)
    path = tmp_path / "client.tflite"

    export_inference(client, path, batch_size=4)

    _, outputs = _run(client, path, x)
    expected = client.predict(x if len(x) > 1 else x[0], verbose=0)
    for made, output in zip(outputs, keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(made, output, atol=0.02)


@pytest.fixture(scope="module")
def computed(client, tmp_path_factory):
    """What the head of `nets.plain` computes at each precision."""

    @functools.cache
    def compute(precision):
        path = tmp_path_factory.mktemp("computed") / "client.tflite"
        export_inference(
            client, path, batch_size=4, precision=precision, calibration=X
        )
        made = _open(path).head(x_0=X[:4])["smashed_0_codes"]
        return tf.reshape(made, (4, *client.contract.smashed[0].shape))

    return compute


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "rule"),
    [
        ("float32", "int8"),
        ("float16", "int8"),
        ("dynamic", "int8"),
        ("int8", "float16"),
        ("int8", "bfloat16"),
        ("int8", "int8"),
        ("int8", "int4"),
        ("int8", "int2"),
        ("int8", "float8_e4m3"),
    ],
)
def test_codes_are_those_of_what_the_head_computed(
    model, computed, precision, rule, tmp_path
):
    rules = Quantization(rule, rounding="stochastic")
    coded = _client(model, rules)
    path = tmp_path / "client.tflite"

    export_inference(
        coded, path, batch_size=4, precision=precision, calibration=X
    )

    made = _open(path).head(x_0=X[:4])
    expected = quantize(computed(precision), rules.activations)
    np.testing.assert_array_equal(made["smashed_0_codes"], expected.codes)
    if expected.scales is not None:
        np.testing.assert_array_equal(made["smashed_0_scales"], expected.scales)


def test_smaller_files_are_nearly_as_exact(tmp_path):
    # Wide enough for weights to matter beside the file's own structure.
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = image = keras.Input((8, 8, 2))
    for width, name in ((64, "a"), (64, "b"), (64, "c")):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(width, 3, padding="same", name=name)(x)
    x = layers.Dense(3)(layers.Flatten()(x))
    client, _ = keras_split.compile(
        keras.Model(image, x), ["a", "b"], quantization="float32"
    )
    expected = client.predict(X[:32], verbose=0)
    sizes, errors = {}, {}

    for precision in ("float32", "float16", "dynamic", "int8"):
        path = tmp_path / f"{precision}.tflite"
        export_inference(
            client, path, batch_size=32, precision=precision, calibration=X
        )
        _, outputs = _run(client, path, [X[:32]])
        sizes[precision] = path.stat().st_size
        errors[precision] = _relative(outputs[0], expected)

    assert errors["float32"] < 1e-5
    assert errors["float16"] < 2e-3
    assert errors["dynamic"] < 0.05
    assert errors["int8"] < 0.05
    assert sizes["float16"] < 0.6 * sizes["float32"]
    assert max(sizes["dynamic"], sizes["int8"]) < 0.6 * sizes["float16"]


def test_an_int8_network_computes_with_integers(model, tmp_path):
    client = _client(model)
    path = tmp_path / "client.tflite"

    export_inference(client, path, precision="int8", calibration=X)

    content = path.read_bytes()
    assert not any("CUSTOM" in name for name in operations(content))
    graphs = schema.ModelT.InitFromPackedBuf(bytearray(content), 0).subgraphs
    outputs = [
        (tensor.name.decode(), tensor.type)
        for graph in graphs
        for operator in graph.operators
        for tensor in (graph.tensors[i] for i in operator.outputs)
    ]
    floats = [
        name
        for name, kind in outputs
        if kind == schema.TensorType.FLOAT32 and CUT_SCOPE not in name
    ]
    # Where the head's network ends, and where the predictions leave.
    assert len(floats) == 2


def test_the_description_tells_the_precision(client, tmp_path):
    path = tmp_path / "client.tflite"

    export_inference(client, path, batch_size=2, precision="float16")

    told = json.loads((tmp_path / "client.json").read_text())
    assert told["mode"] == "infer"
    assert told["precision"] == "float16"
    assert told["batch_size"] == 2
    assert told["optimizer"] is None and told["state"] == []
    assert list(told["signatures"]) == ["head_infer", "tail_infer"]
    (head,) = told["signatures"]["head_infer"]["inputs"]
    assert head == {"name": "x_0", "shape": [2, 8, 8, 2], "dtype": "float32"}


@pytest.mark.parametrize(
    "given",
    [
        X,
        [X],
        {"image": X},
        tf.data.Dataset.from_tensor_slices((X, Y)).batch(10),
        [X[:30], X[30:]],
        tf.constant(X),
    ],
)
def test_calibration_examples_come_in_many_shapes(client, given):
    observed = observe(client, given, batch_size=16)

    found = [batch["x_0"] for batch in observed["head_infer"]]
    np.testing.assert_array_equal(np.concatenate(found)[: len(X)], X)
    assert {"features_0_codes"} == set(observed["tail_infer"][0])


def test_the_last_calibration_batch_is_filled_up(client):
    observed = observe(client, X[:5], batch_size=4)

    last = observed["head_infer"][1]["x_0"]
    np.testing.assert_array_equal(last, X[[4, 4, 4, 4]])
    assert not client.strategy.connected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "calibration=None"),
        ({"precision": "int4"}, "float32, float16, dynamic, int8"),
        ({"precision": "int8", "calibration": X[:0]}, "Expected calibration"),
        ({"precision": "int8", "calibration": 3}, "Expected calibration"),
        ({"precision": "int8", "calibration": {"x": X}}, "image"),
        ({"precision": "int8", "calibration": X[:, :4]}, "(8, 8, 2)"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(
    client, options, message, tmp_path
):
    with pytest.raises(ExportError) as caught:
        export_inference(client, tmp_path / "client.tflite", **options)

    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_cut_once_is_refused(tmp_path):
    client = _client(nets.built(nets.dense), cut="a")

    with pytest.raises(ExportError, match="cut twice"):
        export_inference(client, tmp_path / "client.tflite")


def test_int8_needs_a_server_for_the_tails_ranges(client, tmp_path):
    alone = type(client).from_config(client.get_config())

    with pytest.raises(TransportError):
        export_inference(
            alone, tmp_path / "a.tflite", precision="int8", calibration=X
        )

    assert not list(tmp_path.iterdir())


def test_a_missing_quantizer_is_named(client, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_quantizer", None)

    with pytest.raises(BackendError, match=r"pip install 'ai-edge-quantizer"):
        export_inference(
            client, tmp_path / "client.tflite", precision="float16"
        )
