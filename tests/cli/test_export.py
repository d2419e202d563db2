"""`keras-split export`: files for a phone."""

import json

import keras
import pytest
from click.testing import CliRunner

import keras_split
from keras_split.errors import ExportError
from keras_split_cli import main
from tests import nets
from tests.cli import commands

SMALL = ("--input-size", "32", "--classes", "3")


def call(*arguments):
    return CliRunner().invoke(main.cli, ["export", *map(str, arguments)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """client.keras of a compiled client."""
    path = tmp_path_factory.mktemp("saved") / "client.keras"
    client, _ = keras_split.compile(nets.built(nets.dense), ["a", "b"])
    client.compile(
        keras.optimizers.Adam(0.002), "sparse_categorical_crossentropy"
    )
    client.optimizer.build(client.trainable_variables)
    client.save(path)
    return path


@pytest.mark.slow
def test_a_preset_gives_both_halves(tmp_path, monkeypatch):
    commands.installed(monkeypatch)

    result = call("tiny", *SMALL, "-o", tmp_path / "halves")

    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "halves").iterdir()) == [
        "client.json",
        "client.keras",
        "client.tflite",
        "server.keras",
    ]
    about = json.loads((tmp_path / "halves" / "client.json").read_text())
    assert about["batch_size"] == 8
    assert about["optimizer"]["name"] == "SGD"
    assert about["preprocess"]["offset"] == [-1, -1, -1]
    server = keras_split.load_model(tmp_path / "halves" / "server.keras")
    assert server.contract.fingerprint == about["contract"]["fingerprint"]
    for word in ("head_backward", "KiB", "client.tflite", "server.keras"):
        assert word in result.output


@pytest.mark.slow
def test_a_client_keeps_its_optimizer(saved, tmp_path):
    result = call(saved, "-o", tmp_path / "halves", "--batch-size", 2)

    assert result.exit_code == 0, result.output
    about = json.loads((tmp_path / "halves" / "client.json").read_text())
    assert about["optimizer"]["name"] == "Adam"
    assert about["optimizer"]["learning_rate"] == pytest.approx(0.002)
    assert about["batch_size"] == 2
    assert not (tmp_path / "halves" / "server.keras").exists()


def test_optimizer_and_rate_may_be_chosen(saved, tmp_path):
    result = call(
        *(saved, "-o", tmp_path / "halves", "--batch-size", 2),
        *("--optimizer", "sgd", "--learning-rate", 0.5),
    )

    assert result.exit_code == 0, result.output
    about = json.loads((tmp_path / "halves" / "client.json").read_text())
    assert about["optimizer"]["name"] == "SGD"
    assert about["optimizer"]["learning_rate"] == 0.5


@pytest.mark.parametrize(
    "mode, option, value",
    [
        ("train", "--precision", "float32"),
        ("train", "--precision", "int8"),
        ("train", "--calibration", "photos"),
        ("infer", "--optimizer", "sgd"),
        ("infer", "--learning-rate", 0.1),
    ],
)
def test_an_option_of_the_other_mode_is_a_wrong_call(
    saved, tmp_path, mode, option, value
):
    result = call(
        *(saved, "-o", tmp_path / "halves", "--mode", mode, option, value)
    )

    assert result.exit_code == 2
    message = " ".join(result.output.split())
    assert f"Expected {option} with --mode" in message
    assert f"Received: --mode {mode}. Leave {option} out" in message
    assert not (tmp_path / "halves").exists()


@pytest.mark.parametrize("option", ["--calibration", "--server"])
def test_what_int8_alone_looks_at_is_a_wrong_call(saved, tmp_path, option):
    result = call(
        *(saved, "-o", tmp_path / "halves", "--mode", "infer"),
        *("--precision", "dynamic", option, "127.0.0.1:1"),
    )

    assert result.exit_code == 2
    message = " ".join(result.output.split())
    assert f"Expected {option} with --precision int8 alone" in message
    assert not (tmp_path / "halves").exists()


def test_the_modes_take_their_own_options(saved, tmp_path):
    result = call(
        *(saved, "-o", tmp_path / "halves"),
        *("--mode", "infer", "--precision", "float32"),
    )

    assert result.exit_code == 0, result.output
    about = json.loads((tmp_path / "halves" / "client.json").read_text())
    assert (about["mode"], about["precision"]) == ("infer", "float32")


def test_a_schedule_keeps_its_rates(saved, tmp_path):
    client = keras_split.load_model(saved)
    rates = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    client.compile(
        keras.optimizers.SGD(rates), "sparse_categorical_crossentropy"
    )
    client.optimizer.build(client.trainable_variables)
    client.save(tmp_path / "client.keras")

    result = call(
        *(tmp_path / "client.keras", "-o", tmp_path / "halves"),
        *("--learning-rate", 0.5),
    )

    assert result.exit_code == 1
    assert isinstance(result.exception, ExportError)
    assert "Received: SGD with a LearningRateSchedule" in str(result.exception)
    assert not (tmp_path / "halves").exists()


def test_a_file_in_the_way(saved, tmp_path):
    (tmp_path / "halves").write_text("")

    result = call(saved, "-o", tmp_path / "halves")

    assert result.exit_code != 0


def test_nobody(tmp_path):
    result = call("nobody", "-o", tmp_path)

    assert "Expected a preset" in str(result.exception)
