import hashlib
import json
import shutil

import numpy as np
import pytest

from keras_split.device.description import Description
from keras_split.device.model import Model
from keras_split.errors import DataError


@pytest.fixture
def model(files):
    return Model(files["int8"], Description.read(files["int8"]), 1)


def inputs(model, signature):
    return {
        tensor.name: np.zeros(tensor.shape, tensor.dtype)
        for tensor in model._signatures[signature].inputs
    }


def test_it_gives_what_the_signature_says(model):
    made = model.run("head_infer", inputs(model, "head_infer"))

    expected = {
        tensor.name: (tensor.shape, np.dtype(tensor.dtype))
        for tensor in model._signatures["head_infer"].outputs
    }
    assert {n: (a.shape, a.dtype) for n, a in made.items()} == expected


def test_what_it_gave_stays_when_it_runs_again(model):
    known = inputs(model, "head_infer")
    first = model.run("head_infer", known)
    kept = {name: value.copy() for name, value in first.items()}
    known["x_0"][:] = 3.0

    model.run("head_infer", known)

    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])


@pytest.mark.parametrize("problem", ["missing", "shape", "dtype"])
def test_an_input_that_does_not_fit_is_named(model, problem):
    known = inputs(model, "head_infer")
    if problem == "missing":
        del known["x_0"]
    elif problem == "shape":
        known["x_0"] = known["x_0"][:5]
    else:
        known["x_0"] = known["x_0"].astype("float64")

    with pytest.raises(DataError, match="Expected 'x_0' for 'head_infer' as"):
        model.run("head_infer", known)


def test_a_signature_that_is_not_there_is_named(model):
    with pytest.raises(DataError, match="signature 'fly'"):
        model.run("fly", {})


def test_the_state_is_taken_and_put_back(model):
    state = model.get_state()
    other = {name: value + 1 for name, value in state.items()}

    model.set_state(other)

    for name, value in model.get_state().items():
        np.testing.assert_array_equal(value, other[name])


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\0\0\0TFL3" * 9])
def test_a_file_that_is_no_model_is_an_error(files, tmp_path, content):
    path = tmp_path / "client.tflite"
    shutil.copy(files["int8"].with_suffix(".json"), tmp_path / "client.json")
    path.write_bytes(content)
    file = path.with_suffix(".json")
    config = json.loads(file.read_bytes())
    config["tflite_sha256"] = hashlib.sha256(content).hexdigest()
    file.write_text(json.dumps(config))

    with pytest.raises(DataError, match="a .tflite that LiteRT can load"):
        Model(path, Description.read(path))
