"""The phone as a command, where TensorFlow and Keras cannot be imported."""

import json
import os
import re
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from keras_split.device import Client
from tests.cli import commands

PHONE = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf_keras"):
            raise ImportError(f"{name} is not on the phone")


sys.meta_path.insert(0, Blocked())
from keras_split_cli.main import main

main(sys.argv[1:])
"""


def call(*arguments):
    return commands.python(
        *("-c", PHONE, "device", *arguments),
        PYTHONPATH=os.pathsep.join(sys.path),
    )


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """`(folder, server)`: client.tflite for two classes, and its body."""
    folder = tmp_path_factory.mktemp("halves")
    client, server = commands.halves()
    client.compile(
        keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy"
    )
    client.export(folder / "client.tflite", batch_size=8)
    rng = np.random.default_rng(0)
    y = np.arange(44) % 2
    x = rng.integers(0, 80, (44, 16, 16, 3)) + 160 * y[:, None, None, None]
    np.savez(folder / "data.npz", x=x.astype(np.uint8), y=y)
    return folder, server


@pytest.fixture
def served(halves):
    """`(folder, host:port)`."""
    folder, server = halves
    with server.serve(port=0) as running:
        yield folder, running.target


def test_a_phone_trains_stops_goes_on_and_is_evaluated(served, tmp_path):
    folder, target = served
    state = tmp_path / "state.npz"
    common = (folder / "client.tflite", "--server", target, "--state", state)
    common = (*common, "--data", folder / "data.npz")

    first = call("train", *common, "--epochs", 4)
    second = call("train", *common, "--epochs", 2, "--learning-rate", 0.01)
    scores = call("evaluate", *common)

    for result in (first, second, scores):
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
    assert "Epoch 4/4: loss " in first.stdout
    assert "Going on from" in second.stdout and "step 20" in second.stdout
    assert "Epoch 5/6: loss " in second.stdout
    last = second.stdout.splitlines()[-5]
    assert re.search("val_loss .*val_accuracy", last)
    for pattern in (
        r"A step of 8 images took [\d.]+ ms on average: head_forward [\d.]+, "
        r"tail_step [\d.]+, head_backward [\d.]+, server [\d.]+ \(with",
        r"An image took .* up and .* down",
        r"Peak memory [\d.]+ MiB",
        "Saved the phone's half to ",
    ):
        assert re.search(pattern, second.stdout), second.stdout
    loss = re.search(r"val_loss ([\d.]+)", last).group(1)
    assert f"4 images: loss {loss}" in scores.stdout


def test_it_stops_early_with_classes_that_count_the_same(served, tmp_path):
    folder, target = served
    data = commands.archive(tmp_path / "data.npz", (24, 8))
    test = commands.archive(tmp_path / "test.npz", (4, 4), wrong=True)
    common = (folder / "client.tflite", "--server", target)
    common = (*common, "--state", tmp_path / "state.npz")

    result = commands.run(
        *("device", "train", *common, "--data", data, "--epochs", 20),
        *("--validation-data", test, "--class-weights", "0=1,1=3"),
        *("--early-stopping", 2, "--detect-hijack"),
    )
    scores = commands.run(
        *("device", "evaluate", *common, "--data", test),
        *("--validation-split", 0),
    )

    assert result.returncode == 0, result.stderr
    losses = re.findall(r"val_loss (\S+),", result.stdout)
    assert 3 <= len(losses) < 20
    stays = f"Both halves are those of epoch {len(losses) - 2}, the best"
    assert f"Stopped early. {stays}" in result.stdout
    assert f"8 images: loss {losses[-3]}," in scores.stdout


def test_it_learns(served):
    folder, target = served

    result = call(
        *("train", folder / "client.tflite", "--server", target),
        *("--data", folder / "data.npz", "--epochs", 10),
    )

    assert re.findall(" accuracy ([0-9.]+)", result.stdout)[-1] == "1.0000"
    assert "is gone at the end: --state FILE keeps it." in result.stderr


def test_photos_are_read_for_each_batch(served, tmp_path):
    """By numpy and Pillow alone, and as those in memory are."""
    folder, target = served
    for name, shade in (("dark", 40), ("bright", 200)):
        (tmp_path / name).mkdir()
        for number in range(6):
            image = Image.new("RGB", (20, 16), (shade + number,) * 3)
            image.save(tmp_path / name / f"{number}.png")
    common = ("evaluate", folder / "client.tflite", "--server", target)
    common = (*common, "--data", tmp_path, "--class-names", "bright,dark")

    results = [call(*common, f"--{way}") for way in ("stream", "no-stream")]

    assert results[0].returncode == 0, results[0].stderr
    assert "read from the disk for each batch" in results[0].stderr
    assert results[0].stdout == results[1].stdout
    assert " images: loss " in results[0].stdout


@pytest.mark.slow
def test_it_evaluates_and_predicts_where_training_is_refused(halves, tmp_path):
    folder, server = halves
    client = folder / "client.tflite"
    state, output = tmp_path / "state.npz", tmp_path / "report.json"
    with server.serve(port=0) as running:
        trained = call(
            *("train", client, "--server", running.target, "--epochs", 6),
            *("--data", folder / "data.npz", "--state", state),
        )
    with server.serve(port=0, inference_only=True) as running:
        common = ("--server", running.target, "--state", state)
        scores = call(
            *("evaluate", client, *common, "--data", folder / "data.npz"),
            *("--validation-split", 0, "--output", output),
        )
        said = call(
            *("predict", client, folder / "data.npz", *common),
            *("--format", "csv"),
        )
        refused = call(
            *("train", client, "--server", running.target),
            *("--data", folder / "data.npz"),
        )

    assert trained.returncode == scores.returncode == said.returncode == 0
    assert "44 images: loss" in scores.stdout, scores.stderr
    assert "its half is not set back" in scores.stderr
    assert "This server only predicts" in said.stderr
    report = json.loads(output.read_text())
    rows = [row.split(",") for row in said.stdout.splitlines()]
    assert rows[0] == ["file", "class", "probability"]
    confusion = np.zeros((2, 2), int)
    for place, (_, name, _) in enumerate(rows[1:]):
        confusion[place % 2, int(name)] += 1
    assert report["confusion"] == confusion.tolist()
    assert refused.returncode == 1
    assert "--inference-only" in refused.stderr


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_the_help_has_an_example(command):
    result = commands.run("device", command, "--help")

    assert result.returncode == 0
    assert f"keras-split device {command} client.tflite" in result.stdout


@pytest.mark.slow
def test_a_server_that_is_not_there_is_named(halves, monkeypatch):
    defaults = Client.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "connect_timeout_s", 0.2)
    folder, _ = halves

    result = commands.run(
        *("device", "train", folder / "client.tflite"),
        *("--server", "127.0.0.1:9", "--data", folder / "data.npz"),
    )

    assert result.returncode == 1
    assert "Expected a keras_split server at 127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_address_without_a_port_is_a_wrong_call(halves):
    folder, _ = halves

    result = call("train", folder / "client.tflite", "--server", "here")

    assert result.returncode == 2
    assert "Expected HOST:PORT, or grpcs://HOST:PORT" in result.stderr
    assert "Received: 'here'" in result.stderr


@pytest.mark.parametrize(
    ("source", "data", "text"),
    [
        ("missing.tflite", "data.npz", "in one folder. Received: no file"),
        ("missing.tflite", "data.npz", "with keras-split export, or in Python"),
        ("client.keras", "data.npz", "client.keras -o FOLDER, where Tensor"),
        ("client.tflite", "many.npz", "Expected labels from 0 to 1"),
        ("client.tflite", "missing.npz", "There is no such file"),
    ],
)
def test_what_cannot_be_used_is_named(halves, source, data, text):
    folder, _ = halves
    np.savez(
        folder / "many.npz",
        x=np.zeros((3, 12, 12, 3), np.uint8),
        y=np.arange(3),
    )

    result = call(
        *("train", folder / source, "--server", "127.0.0.1:9"),
        *("--data", folder / data),
    )

    assert result.returncode == 1
    assert result.stderr.startswith("Error: Expected ")
    assert text in result.stderr


def test_a_state_of_another_file_is_refused(served, tmp_path):
    folder, target = served
    np.savez(tmp_path / "state.npz", x=np.zeros(3))

    result = call(
        *("train", folder / "client.tflite", "--server", target),
        *("--data", folder / "data.npz", "--state", tmp_path / "state.npz"),
    )

    assert result.returncode == 1
    assert "Expected a state that save_state wrote" in result.stderr
