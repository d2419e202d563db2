"""Phone and server as two commands.

Once in two processes, as people run them; what does not need that is called
in this one.
"""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import keras
import numpy as np
import pytest
from PIL import Image

from keras_split.datasets import folder
from keras_split_cli.options import Network
from tests.cli import commands

NAMES = ("client", "server")
QUIET = {"COLUMNS": "100", "TF_CPP_MIN_LOG_LEVEL": "3"}


def call(*arguments):
    return commands.python("-m", "keras_split_cli", *arguments, **QUIET)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    commands.installed(monkeypatch)


@contextmanager
def serving(*arguments):
    """Yields the process and its `"host:port"`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_split_cli", "serve"]
        + [*map(str, arguments), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **QUIET},
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("Serving"), line
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def served(cut, classes, seed=0):
    """Serves the preset `tiny` from this process; yields `"host:port"`."""
    network = Network("tiny", cut, 32, classes, None, None, seed, "int8", None)
    _, server = network.load()
    with server.serve(port=0) as running:
        yield running.target


@pytest.fixture
def halves(tmp_path):
    """A tiny client.keras and server.keras that were born together."""
    client, server = commands.halves()
    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")
    return tmp_path


@pytest.fixture
def photos(tmp_path):
    """Two classes of real files: dark images and bright ones."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("bright", 200)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(level - 40, level + 40, (16, 16, 3))
            image = Image.fromarray(pixels.astype(np.uint8))
            image.save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_a_phone_and_a_server_learn_from_a_folder(halves, photos):
    client, trained = halves / "client.keras", halves / "trained.keras"
    body = halves / "body.keras"

    with serving(halves / "server.keras", "--save", body) as (server, target):
        result = call(
            *("train", client, "--server", target, "--data", photos),
            *("--epochs", 4, "--batch-size", 8, "--learning-rate", 0.05),
            *("--microbatches", 2, "--save", trained),
        )
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)

    assert result.returncode == 0, result.stderr
    assert "validation images of bright, dark" in result.stdout
    assert "Sent " in result.stdout
    assert code == 0
    before = [keras.saving.load_model(halves / f"{n}.keras") for n in NAMES]
    after = [keras.saving.load_model(path) for path in (trained, body)]
    for old, new in zip(before, after, strict=True):
        pairs = zip(
            old.trainable_variables, new.trainable_variables, strict=True
        )
        assert any(not np.array_equal(a, b) for a, b in pairs)


def test_a_preset_learns_from_an_archive(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "data.npz",
        x=rng.integers(0, 255, (24, 28, 28)).astype(np.uint8),
        y=np.arange(24) % 3,
    )

    with served("spliteasy", classes=3, seed=5) as target:
        result = commands.run(
            *("train", "tiny", "--input-size", 32, "--seed", 5),
            *("--server", target, "--data", tmp_path / "data.npz"),
            *("--epochs", 1, "--batch-size", 8),
        )

    assert result.returncode == 0, result.stderr
    assert "training images" in result.stdout


def test_a_server_of_another_cut_is_refused(photos):
    with served("deep", classes=2) as target:
        result = commands.run(
            *("train", "tiny", "--input-size", 32, "--classes", 2),
            *("--server", target, "--data", photos),
        )

    assert result.returncode == 1
    assert "Expected fingerprint" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_that_is_not_there_is_named(halves, photos):
    client = halves / "client.keras"

    result = commands.run(
        *("train", client, "--server", "127.0.0.1:9", "--data", photos)
    )

    assert result.returncode == 1
    assert "Expected a keras_split server at 127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("problem", ["missing", "empty", "unreadable"])
def test_a_folder_that_cannot_be_used_is_named(tmp_path, problem):
    folder = tmp_path / "photos"
    if problem != "missing":
        (folder / "cats").mkdir(parents=True)
    if problem == "unreadable":
        (folder / "cats" / "1.jpg").write_bytes(b"no image")

    result = commands.run("train", "mobilenet_v2", "--data", folder)

    assert result.returncode == 1
    assert "photos" in result.stderr
    assert result.stderr.startswith("Error: Expected ")
    assert "Traceback" not in result.stderr


def test_an_address_without_a_port_is_a_wrong_call():
    result = commands.run("train", "mobilenet_v2", "--server", "somewhere")

    assert result.returncode == 2
    assert "Received: 'somewhere'" in result.stderr


def test_more_classes_than_the_network_has_are_named(tmp_path):
    np.savez(
        tmp_path / "data.npz",
        x=np.zeros((8, 12, 12, 3), np.uint8),
        y=np.arange(8),
    )

    result = commands.run(
        *("train", "tiny", "--input-size", 32, "--classes", 4),
        *("--data", tmp_path / "data.npz"),
    )

    assert result.returncode == 1
    assert "Expected labels from 0 to 3" in result.stderr


@pytest.mark.slow
def test_the_demo_prints_its_table():
    result = call("demo", "--epochs", 1, "--images", 320)

    assert result.returncode == 0, result.stderr
    for text in ("test accuracy", "median step", "SplitEasy", "times more"):
        assert text in result.stdout


def test_photos_are_streamed_to_the_same_weights(photos, tmp_path):
    outcomes = []
    for name in ("stream", "no-stream"):
        with served("spliteasy", classes=2) as target:
            outcomes.append(
                commands.run(
                    *("train", "tiny", "--input-size", 32, "--classes", 2),
                    *("--server", target, "--data", photos, f"--{name}"),
                    *("--epochs", 2, "--batch-size", 8),
                    *("--validation-split", 0.2),
                    *("--save", tmp_path / f"{name}.keras"),
                )
            )

    assert [o.returncode for o in outcomes] == [0, 0], outcomes[0].stderr
    assert "read from the disk for each batch" in outcomes[0].stderr
    streamed, held = (
        keras.saving.load_model(tmp_path / f"{name}.keras").get_weights()
        for name in ("stream", "no-stream")
    )
    for a, b in zip(streamed, held, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_photo_that_goes_away_ends_in_a_line(photos, monkeypatch):
    plain = folder.read_photos

    def read_photos(*arguments):
        problems = plain(*arguments)
        (photos / "dark" / "0.png").unlink()
        return problems

    monkeypatch.setattr(folder, "read_photos", read_photos)
    with served("spliteasy", classes=2) as target:
        result = commands.run(
            *("train", "tiny", "--input-size", 32, "--classes", 2),
            *("--server", target, "--data", photos, "--stream"),
            *("--validation-split", 0),
        )

    assert result.returncode == 1
    assert "0.png: No such file" in result.stderr
    assert "Traceback" not in result.stderr, result.stderr
