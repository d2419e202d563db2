"""`keras-split join`: one model from files of two halves."""

import json
import shutil

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import keras_split
from keras_split.device.description import Description
from keras_split.device.state import State
from keras_split.protocol.data_spec import DataSpec
from keras_split.protocol.moment import Moment
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.server.storage.checkpoints import HostState
from keras_split.utils import npz
from tests.cli import commands

RUN = "0123456789abcdef" * 2
SPEC = DataSpec(
    ("cat", "dog"),
    ((0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5)),
    (1.0, 1.0, 1.0),
)
X = np.random.default_rng(0).integers(0, 256, (12, 12, 12, 3), "uint8")
SCALED = X.astype("float32") / 2 + 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Halves of one moment, checkpoints of another body, images."""
    folder = tmp_path_factory.mktemp("halves")
    client, server = commands.halves()
    client.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    client.optimizer.build(client.trainable_variables)
    client.data_spec = SPEC
    client.moment = server.moment = Moment(RUN, 7)
    client.save(folder / "client.keras")
    server.save(folder / "server.keras")
    server.moment = Moment(RUN, 8)
    server.save(folder / "later.keras")
    body = [np.full(v.shape, 0.1, "float32") for v in server.body.variables]
    state = HostState(server.contract.fingerprint, body, [], [])
    Checkpoints(folder / "state").save(state)
    np.savez(folder / "images.npz", x=X, y=np.arange(12) % 2)
    return folder


@pytest.fixture(scope="module")
def device(folder):
    """A state of a device, and the client.tflite that it trained."""
    client = keras_split.load_model(folder / "client.keras")
    path = folder / "client.tflite"
    client.export(path, batch_size=2)
    description = Description.read(path)
    arrays = {
        spec.name: np.full(spec.shape, 0.2, spec.dtype)
        for spec in description.state
    }
    State(arrays, 7).write(folder / "state.npz", description)
    content = npz.read(folder / "state.npz")
    content |= {"run": np.array(RUN), "run_steps": np.array(7)}
    npz.write(folder / "state.npz", content)
    return folder


def join(*arguments):
    return commands.run("join", *arguments)


def expected(folder, *, server="server.keras", head=None, body=None):
    """What the whole should predict, of a client at float32."""
    client = keras_split.load_model(folder / "client.keras")
    server = keras_split.load_model(folder / server)
    for half, value in ((client, head), (server, body)):
        for variable in half.trainable_variables if value else ():
            variable.assign(keras.ops.full_like(variable, value))
    flatten = keras.tree.flatten
    smashed = flatten(client.head([SCALED]))
    features = flatten(server.body(smashed))
    return np.array(flatten(client.tail(features))[0])


def test_a_keras_file_predicts_and_says_its_classes(folder, tmp_path):
    path = tmp_path / "whole.keras"

    result = join(
        *(folder / "client.keras", folder / "server.keras", "-o", path)
    )

    assert result.returncode == 0, result.stderr
    whole = keras.saving.load_model(path)
    np.testing.assert_allclose(
        whole.predict(SCALED, verbose=0), expected(folder), atol=1e-6
    )
    assert whole.get_compile_config()["metrics"] == ["accuracy"]
    about = json.loads((tmp_path / "whole.json").read_text())
    assert about["class_names"] == ["cat", "dog"]
    assert about["moment"] == {"run": RUN, "steps": 7}
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "whole.json",
        "whole.keras",
    ]
    for word in ("run 01234567, step 7", "cat, dog", str(path)):
        assert word in result.stdout
    path = tmp_path / "whole.tflite"
    join(*(folder / "client.keras", folder / "server.keras", "-o", path))
    about = json.loads((tmp_path / "whole.json").read_text())
    assert {"keras_sha256", "tflite_sha256", "signatures"} <= about.keys()
    shown = commands.run("show", tmp_path / "whole.keras").stdout
    for word in ("a whole model", "cat, dog", "01234567", "whole.json"):
        assert word in shown


def test_checkpoints_have_the_body_and_a_server_model_its_layers(
    folder, tmp_path
):
    path = tmp_path / "whole.keras"
    arguments = (folder / "client.keras", folder / "state", "-o", path)

    refused = join(*arguments)  # these checkpoints do not say their moment
    result = join(*arguments, "--anyway")

    assert refused.returncode == 1
    assert "--anyway" in refused.stderr
    assert result.returncode == 0, result.stderr
    warned = "Warning: joined halves that do not belong together: "
    assert result.stderr.count(warned) == 1
    assert "checkpoint-00000001.npz" in result.stdout
    whole = keras.saving.load_model(path)
    np.testing.assert_allclose(
        whole.predict(SCALED, verbose=0),
        expected(folder, body=0.1),
        atol=1e-6,
    )


@pytest.mark.slow
def test_a_device_state_becomes_a_file_that_litert_runs_alone(device, tmp_path):
    path = tmp_path / "whole.tflite"

    result = join(
        *(device / "state.npz", device / "server.keras", "-o", path),
        *("--precision", "int8", "--calibration", device / "images.npz"),
    )

    assert result.returncode == 0, result.stderr
    run = Interpreter(model_path=str(path)).get_signature_runner()
    about = json.loads((tmp_path / "whole.json").read_text())
    name = about["inputs"][0]["name"]
    made = np.concatenate(
        [next(iter(run(**{name: x[None]}).values())) for x in SCALED]
    )
    assert np.abs(made - expected(device, head=0.2)).max() < 0.02
    assert about["preprocess"]["offset"] == [1.0, 1.0, 1.0]
    assert about["precision"] == "int8"


def test_a_device_state_goes_straight_to_an_inference_file(device, tmp_path):
    result = commands.run(
        *("export", device / "client.keras", "--mode", "infer"),
        *("--device-state", device / "state.npz", "-o", tmp_path),
    )

    assert result.returncode == 0, result.stderr
    interpreter = Interpreter(model_path=str(tmp_path / "client.tflite"))
    run = interpreter.get_signature_runner("tail_infer")
    details = run.get_input_details()
    given = {
        name: np.ones(d["shape"], d["dtype"]) for name, d in details.items()
    }
    client = keras_split.load_model(device / "client.keras")
    client.load_device_state(device / "state.npz")
    same = client.tail.variables[0].numpy()
    assert (same == np.float32(0.2)).all()
    assert np.isfinite(next(iter(run(**given).values()))).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("{0}/client.keras", "{0}/later.keras"), "1 step behind"),
        (("{0}/server.keras", "{0}/client.keras"), "is the server's half"),
        (("{0}/client.keras", "{0}/client.keras"), "is the phone's half"),
        (("{0}/none.keras", "{0}/server.keras"), "no file"),
        (("{0}/images.npz", "{0}/server.keras"), "cannot be read"),
        (("{0}/client.keras", "{0}/none"), "not there"),
        (("{0}/client.keras", "{0}"), "which has none"),
        (("{0}/client.tflite", "{0}/server.keras"), "keras-split show"),
        (
            ("{0}/images.npz", "{0}/server.keras", "--client", "x.keras"),
            "--client halves/client.keras",
        ),
        (
            ("{0}/client.keras", "{0}/state", "--server-model", "x.keras"),
            "export PRESET",
        ),
    ],
)
def test_what_cannot_be_joined_leaves_no_file(
    folder, tmp_path, arguments, says
):
    arguments = [a.format(folder) for a in arguments]

    result = join(*arguments, "-o", tmp_path / "whole.keras")

    assert result.returncode == 1
    assert says in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("output", "more", "says"),
    [
        ("whole.h5", (), ".keras or .tflite"),
        ("whole.keras", ("--precision", "int8"), "with a .tflite"),
        ("whole.tflite", ("--precision", "int8"), "--calibration"),
        ("whole.tflite", ("--calibration", "photos"), "--precision float32"),
        ("none/whole.keras", (), "can be written to"),
        ("client.keras", (), "another name"),
        ("taken.keras", (), "taken.json"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_keras_loads(
    folder, tmp_path, output, more, says
):
    for name in ("client.keras", "server.keras"):
        shutil.copy(folder / name, tmp_path / name)
    (tmp_path / "taken.json").write_text('{"mode": "train"}')
    before = (tmp_path / "client.keras").read_bytes()

    result = join(
        *(tmp_path / "client.keras", tmp_path / "server.keras"),
        *("-o", tmp_path / output, *more),
    )

    assert result.returncode in (1, 2)
    assert says in result.stderr.replace("\n", " ")
    assert (tmp_path / "client.keras").read_bytes() == before


def test_a_disk_that_is_full_leaves_no_half_written_file(
    folder, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)

    result = join(
        *(folder / "client.keras", folder / "server.keras"),
        *("-o", tmp_path / "whole.keras"),
    )

    assert result.returncode == 1
    assert "No space left" in result.stderr
    assert not list(tmp_path.iterdir())


def test_int8_of_a_client_asks_the_server_that_is_named(
    folder, tmp_path, serve
):
    arguments = (
        *("export", folder / "client.keras", "--mode", "infer"),
        *("--precision", "int8", "--calibration", folder / "images.npz"),
        *("-o", tmp_path),
    )
    server = keras_split.load_model(folder / "server.keras")
    address = serve(server).address

    refused = commands.run(*arguments)
    result = commands.run(*arguments, "--server", address)

    assert refused.returncode == 1
    assert "--server HOST:PORT" in refused.stderr
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "client.tflite").is_file()
