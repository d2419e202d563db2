"""What a file is, said without Keras."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import keras_split
from keras_split.errors import DataError
from keras_split.files import look
from keras_split.models.device_state import DeviceState
from keras_split.protocol.data_spec import DataSpec
from keras_split.protocol.moment import Moment
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.server.storage.checkpoints import HostState
from keras_split.server.storage.snapshots import Snapshots
from keras_split.utils import npz
from tests import nets

RUN = "0123456789abcdef" * 2
SPEC = DataSpec(("cat", "dog", "eel"), ((2.0, 0.0), (0.0, 2.0)), (0.5, -0.5))


@keras.saving.register_keras_serializable(package="strange")
class Strange(keras.layers.Layer):
    """A class that whoever looks at the file does not have."""

    def call(self, x):
        return x


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A client and a server, files of them, and a whole model."""
    folder = tmp_path_factory.mktemp("files")
    model = keras.Sequential(
        [keras.Input((8, 8, 2), name="image"), *nets.plain().layers[1:-1]]
    )
    model.add(Strange(name="odd"))
    model.add(keras.layers.Dense(3, activation="softmax", name="out"))
    model.compile(
        keras.optimizers.Adam(0.002),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    client, server = keras_split.compile(
        model, ["a_relu", "b_drop"], quantization="balanced"
    )
    client.optimizer.build(client.trainable_variables)
    client.moment = Moment(RUN, 1234)
    server.moment = Moment(RUN, 1234)
    client.data_spec = SPEC
    client.save(folder / "client.keras")
    client.save_weights(folder / "client.weights.h5")
    server.save(folder / "server.keras")
    nets.plain().save(folder / "plain.keras")
    body = [v.numpy() for v in server.body.variables]
    state = HostState(server.contract.fingerprint, body, [], [])
    Checkpoints(folder / "state").save(state)
    Snapshots(folder / "snapshots").save(body, [])
    np.savez(folder / "data.npz", x=np.zeros((2, 3)), y=np.zeros(2))
    npz.write(
        folder / "state.npz",
        {
            "fingerprint": np.array("f" * 32),
            "frozen": np.array("0"),
            "step": np.array(7),
            "tag": np.array("t" * 16),
            "run": np.array(RUN),
            "run_steps": np.array(1234),
            "state.head_000": np.zeros((2, 3)),
        },
    )
    return folder


def test_a_client_says_all_that_is_known_of_it(folder):
    facts = look(folder / "client.keras")

    assert facts["kind"].startswith("client")
    assert (facts["run"], facts["step"]) == (RUN, 1234)
    assert facts["cut"] == ["a_relu", "b_drop"]
    assert len(facts["fingerprint"]) == 32
    assert facts["classes"] == ["cat", "dog", "eel"]
    assert facts["preprocessing"]["offset"] == [0.5, -0.5]
    assert facts["codec"] == "zstd"
    assert facts["inputs"] == [
        {"name": "image", "shape": [8, 8, 2], "dtype": "float32"}
    ]
    assert facts["optimizer"] == "Adam"
    assert facts["learning_rate"] == pytest.approx(0.002)
    assert "from_logits=True" in facts["loss"]
    assert facts["metrics"] == ["accuracy"]
    up, down = facts["crossing"]
    assert (up["tensor"], up["direction"], up["shape"]) == (
        *("a_relu", "up"),
        [6, 6, 4],
    )
    client = keras_split.load_model(folder / "client.keras")
    assert facts["parameters"]["all"] == client.count_params()
    assert facts["parameters"]["head"] == client.head.count_params()
    rule = client.contract.quantization.activations
    assert up["bytes_per_sample"] == rule.nbytes(1, (6, 6, 4))
    assert facts["training_bytes_per_sample"] == dict(
        zip(("up", "down"), client.contract.bytes_per_sample(), strict=True)
    )
    assert down["direction"] == "down"
    json.dumps(facts)


def test_other_files_say_what_they_are(folder):
    said = {
        "server.keras": ("server", {"run": RUN, "step": 1234}),
        "plain.keras": ("a Keras model: Functional", {}),
        "client.weights.h5": ("weights", {}),
        "state": ("checkpoints of a server", {}),
        "state/checkpoint-00000001.npz": ("a checkpoint", {}),
        "data.npz": ("data", {}),
        "state.npz": (
            "the state of a LiteRT-only device",
            {"run": RUN, "step": 1234, "device_steps": 7},
        ),
    }

    for name, (kind, more) in said.items():
        facts = look(folder / name)
        assert facts["kind"].startswith(kind), name
        assert facts | more == facts, name
    snapshot = next((folder / "snapshots").iterdir())
    assert look(snapshot)["kind"].startswith("a snapshot")
    plain = nets.plain().count_params()
    assert look(folder / "plain.keras")["parameters"]["all"] == plain
    assert DeviceState(folder / "state.npz").moment == Moment(RUN, 1234)


def test_it_needs_neither_keras_nor_the_classes_in_the_file(folder):
    program = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None;"
        "from keras_split.files import look;"
        "import glob;"
        "[look(f) for f in sys.argv[1:]];"
        "assert not [m for m in sys.modules if m.startswith('tensorflow.')]"
    )
    files = [
        str(folder / name)
        for name in ("client.keras", "server.keras", "state", "state.npz")
    ]

    subprocess.run([sys.executable, "-c", program, *files], check=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.keras", None),
        ("text.txt", b"hello"),
        ("cut.keras", b"PK\x03\x04 cut off"),
        ("cut.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(20)),
        ("text.tflite", b"hello, this is text"),
        ("list.json", b"[1, 2]"),
        ("other.json", b'{"name": "package"}'),
        ("cut.json", b'{"mode": "train", '),
        ("half.json", b'{"mode": "train"}'),
        ("endless.json", b'{"mode": "whole", "moment": {"steps": 1e999}}'),
        ("cut.npz", b"PK\x03\x04 cut off"),
        ("text.weights.h5", b"\x89HDF\r\n\x1a\n nothing"),
    ],
)
def test_what_is_broken_or_unknown_is_refused(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match="(?s)Expected.*Received.*"):
        look(path)


def test_a_truncated_file_is_refused_wherever_it_ends(folder, tmp_path):
    for name in ("client.keras", "state.npz", "client.weights.h5"):
        content = (folder / name).read_bytes()
        for share in (0.1, 0.5, 0.99):
            path = tmp_path / name
            path.write_bytes(content[: int(share * len(content))])
            with pytest.raises(DataError, match="broken"):
                look(path)


def test_nothing_is_run_and_nothing_huge_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {}}))
    np.savez(tmp_path / "b.npz", about=np.array([print], object))

    for name in ("a.keras", "b.npz"):
        with pytest.raises(DataError, match="broken or something else"):
            look(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no checkpoints"):
        look(tmp_path)
