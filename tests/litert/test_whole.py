"""A whole model as a file that LiteRT runs by itself."""

import hashlib
import json

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from keras_split.errors import ExportError
from keras_split.litert import export_whole
from keras_split.litert.contents import operations
from keras_split.protocol.data_spec import DataSpec
from tests import nets

X, _ = nets.images(64)
SPEC = DataSpec(("cat", "dog", "eel"), ((2.0, 0.0), (0.0, 2.0)), (0.5, -0.5))


@pytest.fixture(scope="module")
def model():
    model = nets.built(nets.plain)
    for _ in range(20):
        model(X, training=True)
    return model


def predict(path, **inputs):
    interpreter = Interpreter(model_path=str(path))
    return interpreter.get_signature_runner("serving_default")(**inputs)


def test_a_file_predicts_as_the_model_and_says_what_an_app_must_know(
    model, tmp_path
):
    path = tmp_path / "whole.tflite"

    about = export_whole(model, path, batch_size=4, data_spec=SPEC)

    made = predict(path, image=X[:4])
    np.testing.assert_allclose(
        made["out"], model.predict(X[:4], verbose=0), atol=1e-6
    )
    assert about == json.loads((tmp_path / "whole.json").read_text())
    assert about["mode"] == "whole"
    assert about["class_names"] == ["cat", "dog", "eel"]
    assert about["preprocess"]["offset"] == [0.5, -0.5]
    assert about["inputs"] == [
        {"name": "image", "shape": [8, 8, 2], "dtype": "float32"}
    ]
    assert about["outputs"][0]["name"] == "out"
    content = path.read_bytes()
    assert about["tflite_sha256"] == hashlib.sha256(content).hexdigest()
    assert not [n for n in operations(content) if "CUSTOM" in n or "Flex" in n]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("precision", ["float16", "dynamic", "int8"])
def test_smaller_files_predict_nearly_the_same(model, tmp_path, precision):
    path = tmp_path / "whole.tflite"

    export_whole(
        model,
        path,
        precision=precision,
        calibration=X if precision == "int8" else None,
    )

    made = np.concatenate([predict(path, image=x[None])["out"] for x in X[:8]])
    expected = model.predict(X[:8], verbose=0)
    assert np.abs(made - expected).max() < 0.05
    assert made.dtype == np.float32


def test_several_inputs_and_outputs_go_by_name(tmp_path):
    model = nets.built(nets.two_by_two)
    gray = nets.images(channels=1)[0][:1]
    extra = np.ones((1, 3), "float32")

    export_whole(model, tmp_path / "whole.tflite")

    made = predict(tmp_path / "whole.tflite", image=gray, extra=extra)
    expected = model.predict([gray, extra], verbose=0)
    assert made.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(made[name], value, atol=1e-6)


def test_inputs_with_names_that_no_signature_has_are_told_by_both(tmp_path):
    own = ["a_b_2", "a b", "a_b", "in", "class", "1x", "self", "größe"]
    own += ["grüße", "_x", "X", "x", "x_in"]
    inputs = [keras.Input((1,), name=name) for name in own]
    model = keras.Model(inputs, layers.Concatenate(name="out")(inputs))

    about = export_whole(
        model,
        tmp_path / "whole.tflite",
        precision="int8",
        calibration=[np.full((1, 1), n, "float32") for n in range(len(own))],
    )

    rows = about["inputs"]
    assert [row.get("keras_name", row["name"]) for row in rows] == own
    assert rows[0] == {"name": "a_b_2", "shape": [1], "dtype": "float32"}
    given = {
        row["name"]: np.full((1, 1), n, "float32") for n, row in enumerate(rows)
    }
    made = predict(tmp_path / "whole.tflite", **given)["out"]
    np.testing.assert_allclose(made, [range(len(own))], atol=0.05)


def test_layers_and_models_may_have_any_name(tmp_path):
    x = values = keras.Input((4,))
    x = layers.Dense(4, name="a layer")(x)
    x = layers.Dense(3, name="größe")(layers.ReLU(name="a_layer")(x))
    model = keras.Model(values, x, name="_mein Modell")

    about = export_whole(model, tmp_path / "whole.tflite")

    (read,), (made,) = about["inputs"], about["outputs"]
    x = np.ones((1, 4), "float32")
    found = predict(tmp_path / "whole.tflite", **{read["name"]: x})
    np.testing.assert_allclose(found[made["name"]], model(x), atol=1e-6)
    assert made["keras_name"] == "größe"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"precision": "int4"}, "a precision"),
        ({"precision": "int8"}, "calibration"),
        ({"precision": "int8", "calibration": X[:, :4]}, "calibration"),
        ({"precision": "int8", "calibration": X[:0]}, "calibration"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_what_cannot_be_is_refused(model, tmp_path, options, says):
    with pytest.raises(ExportError, match=f"Expected.*{says}"):
        export_whole(model, tmp_path / "whole.tflite", **options)

    assert not list(tmp_path.iterdir())


def test_a_layer_that_litert_does_not_have_is_named(tmp_path):
    x = values = keras.Input((4,))
    x = keras.ops.linalg.det(layers.Reshape((2, 2), name="square")(x))

    with pytest.raises(ExportError, match="(?s)Expected.*whole model"):
        export_whole(keras.Model(values, x), tmp_path / "whole.tflite")

    assert not list(tmp_path.iterdir())
