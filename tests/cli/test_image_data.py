"""Classes and scale travel with a client, whatever command has it."""

import json
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

import keras_split
from keras_split import datasets
from keras_split import device
from keras_split import zoo
from keras_split.errors import DataError
from keras_split_cli import image_data
from keras_split_cli.data import Data
from tests.cli import commands

NAMES = ("ant", "bee", "cow", "dog", "eel")
ONCE = ("--epochs", 1, "--batch-size", 8)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    commands.installed(monkeypatch)


@pytest.fixture
def photos(tmp_path):
    """Folders of some classes."""

    def make(*names, where="photos"):
        for name in names:
            folder = tmp_path / where / name
            folder.mkdir(parents=True)
            for number in range(3):
                color = (NAMES * 2).index(name) * 50 if name in NAMES else 0
                image = Image.new("RGB", (8, 8), (color, color, number))
                image.save(folder / f"{number}.png")
        return tmp_path / where

    return make


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Client and server of the preset `tiny` that know five classes."""
    folder = tmp_path_factory.mktemp("halves")
    client, server = commands.TINY.load(
        input_shape=(32, 32, 3), class_names=NAMES, seed=0
    )
    client.save(folder / "client.keras")
    server.save(folder / "server.keras")
    return folder


@pytest.fixture
def seen(monkeypatch):
    """What `fit` is given, in place of training."""
    found = []

    def fit(client, batches, **options):
        parts = [batches[i][:2] for i in range(len(batches))]
        x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((x[:, 0, 0, 2], x[:, 0, 0, 0]))  # was random
        found.append((client, x[order], y[order]))
        return SimpleNamespace(epoch=[0])

    monkeypatch.setattr(keras_split.ClientModel, "fit", fit)
    return found


def test_a_preset_says_its_scale_and_a_folder_its_classes(
    photos, tmp_path, seen
):
    saved = tmp_path / "client.keras"

    result = commands.run(
        *("train", "tiny", "--input-size", 32, *ONCE, "--save", saved),
        *("--data", photos("dog", "cow"), "--validation-split", 0),
    )

    assert result.returncode == 0, result.stderr
    config = json.loads(zipfile.ZipFile(saved).read("config.json"))
    spec = commands.TINY.data_spec(["cow", "dog"])
    assert config["config"]["data_spec"] == spec.get_config()
    assert spec.offset == (-1, -1, -1)


def test_a_saved_client_scales_and_numbers_as_before(halves, photos, seen):
    folder = photos("eel", "bee")

    for source in ("client.keras", "tiny"):
        more = ("--input-size", 32, "--classes-from", halves / "client.keras")
        result = commands.run(
            *("train", halves / source if source != "tiny" else source),
            *(more if source == "tiny" else ()),
            *("--data", folder, "--validation-split", 0, *ONCE),
        )
        assert result.returncode == 0, result.stderr

    for client, x, y in seen:
        assert sorted({*y}) == [1, 4]
        assert client.data_spec.class_names == NAMES
        images = datasets.load_folder(
            folder, (32, 32, 3), class_names=NAMES
        ).train[0]
        prepare = keras.applications.mobilenet_v2.preprocess_input
        expected = prepare(images.astype("float32"))
        order = np.lexsort((expected[:, 0, 0, 2], expected[:, 0, 0, 0]))
        expected = expected[order]
        np.testing.assert_allclose(x, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("folders", "options", "words"),
    [
        (("bee", "cat"), (), "'cat'"),
        (("bee",), ("--class-names", "bee,ant,cow,dog,eel"), "was trained"),
    ],
)
def test_classes_that_a_client_does_not_know_are_refused(
    halves, photos, folders, options, words
):
    result = commands.run(
        *("train", halves / "client.keras", "--data", photos(*folders)),
        *options,
    )

    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_two_of_five_folders_have_no_numbers_of_their_own(photos):
    result = commands.run(
        *("train", "tiny", "--input-size", 32, "--classes", 5),
        *("--data", photos("dog", "eel")),
    )

    assert result.returncode == 1
    assert "Expected 5 classes" in result.stderr
    assert "--class-names" in result.stderr


def test_an_export_says_what_the_client_says(halves, tmp_path):
    for mode in ("train", "infer"):
        out = tmp_path / mode
        result = commands.run(
            *("export", halves / "client.keras", "-o", out, "--mode", mode)
        )

        assert result.returncode == 0, result.stderr
        about = json.loads((out / "client.json").read_text())
        assert about["class_names"] == [*NAMES]
        assert about["preprocess"]["offset"] == [-1, -1, -1]
        phone = device.Client(out / "client.tflite", "grpc://127.0.0.1:9")
        spec = commands.TINY.data_spec(NAMES)
        assert phone.class_names == NAMES
        assert phone.description.data_spec == spec
        assert about["hello"]["data"] == spec.digest.get_config()


@pytest.mark.slow
def test_an_export_labels_a_whole_pair(tmp_path):
    names = tmp_path / "classes.txt"
    names.write_text("cat\ndog\nfox\n")

    result = commands.run(
        *("export", "tiny", "--input-size", 32, "-o", tmp_path / "out"),
        *("--classes-from", names),
    )

    assert result.returncode == 0, result.stderr
    spec = commands.TINY.data_spec(["cat", "dog", "fox"])
    about = json.loads((tmp_path / "out" / "client.json").read_text())
    assert about["class_names"] == ["cat", "dog", "fox"]
    client = keras_split.load_model(tmp_path / "out" / "client.keras")
    server = keras_split.load_model(tmp_path / "out" / "server.keras")
    assert client.data_spec == spec
    assert server.data_digest == spec.digest


def test_int8_is_calibrated_at_the_scale_of_the_client(
    halves, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        keras_split.ClientModel,
        "export",
        lambda client, path, **options: seen.append(options) or 1 / 0,
    )

    server = keras_split.load_model(halves / "server.keras")
    with server.serve(port=0) as running:
        commands.run(
            *("export", halves / "client.keras", "-o", tmp_path / "out"),
            *("--mode", "infer", "--precision", "int8"),
            *("--server", running.target),
        )

    (options,) = seen
    assert options["calibration"].min() == -1
    assert options["calibration"].max() == 1


def test_a_phone_that_numbers_classes_otherwise_is_refused(
    halves, photos, tmp_path
):
    server = keras_split.load_model(halves / "server.keras")
    folder = photos(*NAMES)
    with server.serve(port=0) as running:
        refused, taken = (
            commands.run(
                *("train", "tiny", "--input-size", 32, *ONCE, *names),
                *("--server", running.target, "--data", folder),
            )
            for names in (("--class-names", ",".join(NAMES[::-1])), ())
        )

    assert refused.returncode == 1
    assert "--classes-from" in refused.stderr
    assert "bee" not in refused.stderr.split("Received")[-1]
    assert taken.returncode == 0, taken.stderr


def root(x):
    """Preprocessing that is no matrix."""
    return np.sqrt(x)


@pytest.fixture
def odd(monkeypatch):
    """The preset `tiny`, whose preprocessing no file can hold."""
    preset = zoo.ImagePreset(
        **vars(commands.TINY) | {"preprocess": f"{__name__}:root"}
    )
    known = {
        f"{__name__}:root": root,
        commands.TINY.model: commands.tiny,
    }
    for module in (zoo, zoo.image):
        monkeypatch.setattr(module, "resolve", known.__getitem__)
    monkeypatch.setattr(zoo, "get", lambda name: preset)
    return preset


def test_preprocessing_that_would_be_lost_is_refused_before_it_is(
    odd, photos, tmp_path, seen
):
    data = ("--input-size", 32, "--data", photos("ant", "bee"))

    trained = commands.run("train", "tiny", *data, *ONCE)
    saved = commands.run("train", "tiny", *data, "--save", tmp_path / "c.keras")
    exported = commands.run("export", "tiny", "-o", tmp_path / "out")

    assert trained.returncode == 0, trained.stderr
    ((_, x, _),) = seen
    assert x.max() < 16
    for result in (saved, exported):
        assert result.returncode == 1
        assert "does something else" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("data", "names", "outputs", "expected"),
    [
        ("photos", NAMES, 5, NAMES),
        ("photos", NAMES, None, NAMES),
        ("photos.npz", (), 7, ()),
        ("fashion_mnist", NAMES, 7, ()),
    ],
)
def test_names_are_those_of_all_classes(data, names, outputs, expected):
    pair = np.zeros((5, 2, 2)), np.arange(5)

    found = Data(pair, None, names)

    assert image_data.names_of_all(data, found, outputs) == expected


def test_more_labels_than_outputs_are_refused():
    found = Data((np.zeros((3, 1)), np.array([0, 1, 2])), None, ())

    with pytest.raises(DataError, match="labels from 0 to 1.*--classes 3"):
        image_data.names_of_all("x.npz", found, 2)
