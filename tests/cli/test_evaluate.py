import csv
import json
import os
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from keras_split.protocol.data_spec import DataSpec
from keras_split_cli import reports
from tests.cli import commands


def write_photos(folder, count=6):
    """Two classes of real files: dark images and bright ones."""
    rng = np.random.default_rng(0)
    for name, level in (("bright", 200), ("dark", 40)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(level - 40, level + 40, (16, 16, 3))
            image = Image.fromarray(pixels.astype(np.uint8))
            image.save(folder / name / f"{number}.png")
    return folder


class Files:
    """A client that learned, its files, and a server that only predicts."""

    def __init__(self, folder):
        self.folder = folder
        self.photos = write_photos(folder / "photos")
        client, server = commands.halves()
        client.data_spec = replace(DataSpec(), class_names=("bright", "dark"))
        client.compile(
            keras.optimizers.Adam(0.1),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        x = np.stack(
            [
                np.array(Image.open(path).resize((12, 12), 2))
                for path in sorted(self.photos.rglob("*.png"))
            ]
        ).astype("float32")
        y = np.repeat([0, 1], 6)
        client.fit(x, y, epochs=6, verbose=0)
        self.scores = client.evaluate(x, y, verbose=0, return_dict=True)
        self.outputs = client.predict(x, verbose=0)
        self.client = folder / "client.keras"
        self.server = folder / "server.keras"
        client.save(self.client)
        server.save(self.server)
        for mode in ("train", "infer"):
            client.export(
                folder / mode / "client.tflite", mode=mode, batch_size=8
            )
        client.close()
        self.model = server


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="module")
def address(files):
    with files.model.serve(port=0, inference_only=True) as running:
        yield running.target


@pytest.fixture(scope="module")
def whole(files):
    """`whole.keras` and `whole.tflite` of a network that was not split."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Rescaling(1 / 255),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.save(files.folder / "whole.keras")
    model.export(files.folder / "whole.tflite", format="litert", verbose=False)
    (files.folder / "whole.json").write_text(
        json.dumps({"class_names": ["bright", "dark"], "preprocess": None})
    )
    return files.folder


def test_a_client_says_what_keras_says(files, address, tmp_path):
    result = commands.run(
        *("evaluate", files.client, "--server", address),
        *("--data", files.photos, "--output", tmp_path / "report.json"),
        *("--plot", tmp_path / "confusion.png"),
    )

    assert result.returncode == 0, result.stderr
    loss, accuracy = files.scores["loss"], files.scores["accuracy"]
    line = f"12 images: loss {loss:.4f}, accuracy {accuracy:.4f}"
    assert line in result.stdout
    assert "0 bright" in result.stdout and "macro mean" in result.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["metrics"]["loss"] == pytest.approx(loss, abs=1e-6)
    counts = np.zeros((2, 2), int)
    np.add.at(counts, (np.repeat([0, 1], 6), files.outputs.argmax(1)), 1)
    assert report["confusion"] == counts.tolist()
    assert [c["name"] for c in report["classes"]] == ["bright", "dark"]
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_a_phones_half_says_the_same(files, address, tmp_path, mode):
    result = commands.run(
        *("evaluate", files.folder / mode / "client.tflite"),
        *("--server", address, "--data", files.photos),
        *("--output", tmp_path / "report.csv"),
    )

    assert result.returncode == 0, result.stderr
    with (tmp_path / "report.csv").open() as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    name = "loss" if mode == "train" else "crossentropy"
    for found, wanted in ((name, "loss"), ("accuracy", "accuracy")):
        value = float(rows[found][0])
        assert value == pytest.approx(files.scores[wanted], abs=1e-5)
    assert rows["class"][-1] == "taken for dark"
    assert sum(map(int, rows["bright"][4:])) == 6


@pytest.mark.parametrize("name", ["whole.keras", "whole.tflite"])
def test_a_whole_model_needs_no_server(whole, files, name, tmp_path):
    result = commands.run(
        *("evaluate", whole / name, "--data", files.photos),
        *("--output", tmp_path / "report.json"),
    )

    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    model = keras.saving.load_model(whole / "whole.keras")
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    x = np.stack(
        [
            np.array(Image.open(path).resize((12, 12), 2))
            for path in sorted(files.photos.rglob("*.png"))
        ]
    ).astype("float32")
    loss, accuracy = model.evaluate(x, np.repeat([0, 1], 6), verbose=0)
    assert report["metrics"] == pytest.approx(
        {"accuracy": accuracy, "crossentropy": loss}, abs=1e-5
    )


def test_photos_may_stay_on_the_disk(whole, files):
    common = ("evaluate", whole / "whole.tflite", "--data", files.photos)

    kept = commands.run(*common, "--no-stream")
    read = commands.run(*common, "--stream", "--batch-size", 5)

    assert read.returncode == 0, read.stderr
    assert read.stdout == kept.stdout


def test_part_of_a_folder_is_what_train_holds_back(whole, files):
    result = commands.run(
        *("evaluate", whole / "whole.keras", "--data", files.photos),
        *("--validation-split", 0.34),
    )

    assert "4 images: " in result.stdout, result.stderr


def test_images_that_were_trained_on_do_not_stand_for_none_held_back(
    whole, files
):
    result = commands.run(
        *("evaluate", whole / "whole.tflite", "--data", files.photos),
        *("--validation-split", 0.01),
    )

    assert result.returncode == 1
    assert "images that train holds back. Received: none of 12" in result.stderr
    assert "Pass --validation-split 0" in result.stderr


def call_wrong(files, address, *arguments):
    return commands.run("evaluate", *arguments, "--data", files.photos)


def test_what_needs_a_server_and_what_needs_none_is_said(files, address, whole):
    for source, server, text in (
        (files.client, (), "Expected --server"),
        (files.folder / "train" / "client.tflite", (), "Expected --server"),
        (files.server, (), "Received: the server's half"),
        (whole / "whole.keras", ("--server", address), "needs none"),
        (whole / "whole.tflite", ("--server", address), "needs none"),
        (whole / "absent.keras", (), "there is no such file"),
        (whole / "absent.tflite", (), "which is no file"),
        (whole / "whole.json", (), "Expected a .keras or a .tflite"),
    ):
        result = call_wrong(files, address, source, *server)

        assert result.returncode == 1
        assert result.stderr.splitlines()[-1].startswith("Error: Expected ")
        assert text in result.stderr, result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "option, value, text",
    [
        ("--output", "report.txt", "ends in .json or .csv"),
        ("--output", "absent/report.csv", "in a folder that can be written"),
        ("--plot", "confusion.jpg", "ends in .png"),
        ("--state", "state.npz", "client.tflite for --state"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(
    whole, files, option, value, text
):
    result = call_wrong(files, None, whole / "whole.tflite", option, value)

    assert result.returncode == 1
    assert text in result.stderr
    assert "images" not in result.stdout


def test_without_matplotlib_the_extra_is_named(whole, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    result = call_wrong(
        files, None, whole / "whole.tflite", "--plot", "confusion.png"
    )

    assert result.returncode == 1
    assert "Expected matplotlib" in result.stderr
    assert "pip install" in result.stderr


def test_a_folder_with_other_classes_is_not_guessed(files, whole, tmp_path):
    (whole / "whole.json").rename(tmp_path / "whole.json")
    one = tmp_path / "one"
    os.rename(write_photos(tmp_path / "photos") / "dark", tmp_path / "dark")
    (tmp_path / "photos").rename(one)
    try:
        guessed = commands.run(
            *("evaluate", whole / "whole.tflite", "--data", one)
        )
        told = commands.run(
            *("evaluate", whole / "whole.tflite", "--data", one),
            *("--class-names", "dark,bright"),
        )
    finally:
        (tmp_path / "whole.json").rename(whole / "whole.json")

    assert guessed.returncode == 1
    assert "Expected 2 classes" in guessed.stderr
    assert "Received: 1" in guessed.stderr
    assert told.returncode == 0, told.stderr
    assert "1 bright" in told.stdout


def test_names_that_the_model_does_not_know_are_refused(whole, files):
    result = call_wrong(
        files, None, whole / "whole.tflite", "--class-names", "dark,bright"
    )

    assert result.returncode == 1
    assert "was trained with: bright, dark. Received: dark" in result.stderr


def test_of_many_classes_the_confusions_are_listed_and_no_matrix():
    from keras_split.evaluation import Report

    confusion = np.zeros((30, 30), int)
    confusion[3, 7] = 5
    confusion[7, 7] = 2
    shown = reports.text(Report(confusion, metrics={"accuracy": 2 / 7}))

    assert "3 taken for 7 5 times" in shown
    assert "is / taken for" not in shown
    assert shown.count("\n") < 12


def test_names_of_folders_do_not_steer_the_terminal():
    from keras_split.evaluation import Report

    shown = reports.text(Report(np.eye(2, dtype=int), ("\x1b[31m", "x" * 99)))

    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) < 80


@pytest.mark.slow
def test_two_processes_with_tls_and_a_token(files, tmp_path):
    from tests.cli import test_train

    certs = tmp_path / "certs"
    made = commands.run(
        *("certs", "--out", certs, "--host", "127.0.0.1", "--token", "ann")
    )
    assert made.returncode == 0, made.stderr
    with test_train.serving(
        *(files.server, "--inference-only", "--tokens", certs / "tokens.txt"),
        *("--tls-cert", certs / "server.pem"),
        *("--tls-key", certs / "server-key.pem"),
    ) as (_, address):
        common = ("--server", address, "--tls-ca", certs / "ca.pem")
        known = (*common, "--token-file", certs / "token-ann.txt")
        stranger = test_train.call(
            *("evaluate", files.client, *common, "--data", files.photos)
        )
        result = test_train.call(
            *("evaluate", files.client, *known, "--data", files.photos)
        )
        trained = test_train.call(
            *("train", files.client, *known, "--data", files.photos)
        )

    assert stranger.returncode == 1 and "token" in stranger.stderr
    assert result.returncode == 0, result.stderr
    assert "12 images: loss" in result.stdout
    assert "This server only predicts" in result.stderr
    assert trained.returncode == 1
    assert "--inference-only" in trained.stderr
    assert "Traceback" not in trained.stderr
