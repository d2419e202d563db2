"""Phone and server as two commands.

Once in two processes, as people run them; what does not need that is called
in this one.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import keras
import numpy as np
import pytest
from PIL import Image

import keras_split
from keras_split.datasets import folder
from keras_split.errors import DataError
from keras_split_cli.data import Data
from keras_split_cli.options import Network
from keras_split_cli.training_options import read_all
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_epsilon_is_said_of_all_epochs_and_what_has_none_is_named(tmp_path):
    data = commands.archive(tmp_path / "data.npz", (8, 8, 8))
    test = commands.archive(tmp_path / "test.npz", (2, 2, 2))
    mechanism = "gaussian_mechanism:limit=1,sigma=8"
    said = {}

    with served("spliteasy", classes=3) as target:
        for where in ("smashed+features_grad", "smashed"):
            for epochs in (1, 2):
                result = commands.run(
                    *("train", "tiny", "--input-size", 32, "--data", data),
                    *("--server", target, "--validation-data", test),
                    *("--epochs", epochs, "--batch-size", 8),
                    *("--resume", tmp_path / where),
                    *("--defense", f"{mechanism},where={where}"),
                )
                assert result.returncode == 0, result.stderr
                said[where, epochs] = result.stdout

    half, _ = keras_split.compile(
        commands.tiny((32, 32, 3), 3),
        ["first", "pool"],
        defenses=[
            keras_split.defenses.GaussianMechanism(
                1.0, 8.0, ("smashed", "features_grad")
            )
        ],
    )
    whole = keras_split.defenses.Accountant(half).epsilon(2)
    both = said["smashed+features_grad", 2]
    assert "Epsilon after 2 epochs, at delta 1e-05" in both
    assert f"examples {whole:.3g}\n" in both
    assert "validated with have no epsilon" in both
    assert "Epsilon after 1 epoch, " in said["smashed", 1]
    assert "Labels have no epsilon. Expected a mechanism" in said["smashed", 2]


@pytest.mark.slow
def test_epsilon_counts_earlier_trainings_and_labels_drawn_anew(tmp_path):
    data = commands.archive(tmp_path / "data.npz", (8, 8, 8))
    client = tmp_path / "client.keras"

    defenses = (
        "randomized_response:epsilon=1",
        ("gaussian_mechanism:limit=1,sigma=8,where=smashed+features_grad"),
    )
    first = ["tiny", "--input-size", 32]
    first += [word for d in defenses for word in ("--defense", d)]

    with served("spliteasy", classes=3) as target:
        for source in (first, [client, "--augment", "flip"]):
            result = commands.run(
                *("train", *source, "--server", target, "--data", data),
                *("--epochs", 1, "--batch-size", 8, "--save", client),
            )
            assert result.returncode == 0, result.stderr

    assert "Epsilon after 2 epochs, at delta 1e-05" in result.stdout
    assert "labels 2," in result.stdout


def test_a_server_of_another_cut_is_refused(photos):
    with served("deep", classes=2) as target:
        result = commands.run(
            *("train", "tiny", "--input-size", 32, "--classes", 2),
            *("--server", target, "--data", photos),
        )

    assert result.returncode == 1
    assert "Expected the cut at" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_of_other_classes_is_told_of_the_phones(photos):
    with served("spliteasy", classes=3) as target:
        result = commands.run(
            *("train", "tiny", "--input-size", 32, "--server", target),
            *("--data", photos),
        )

    assert result.returncode == 1
    assert "another number of classes (--classes)" in result.stderr
    assert "half takes images of 32 x 32 (--input-size)" in result.stderr
    assert "and has 2 classes (--classes)." in result.stderr


@pytest.mark.slow
def test_a_server_that_is_not_there_is_named(halves, photos, monkeypatch):
    defaults = keras_split.SplitStrategy.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "connect_timeout_s", 0.2)
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


def test_one_class_is_named_before_anything_is_loaded(photos):
    shutil.rmtree(photos / "dark")

    result = commands.run("train", "mobilenet_v2", "--data", photos)

    assert result.returncode == 1
    assert "Error: Expected two folders of classes or more in" in result.stderr
    assert "Received: one, 'bright'." in result.stderr
    assert "Loading" not in result.stderr and "images" not in result.stdout


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


def test_one_hot_rows_have_as_many_classes_as_columns():
    x, rows = np.zeros((2, 4, 4, 3)), np.eye(3)[[0, 1]]
    numbers = np.array([0, 1])

    assert Data((x, rows), None, ()).classes == 3
    assert Data((x, numbers), (x, numbers + 1), ()).classes == 3
    assert Data((x, numbers), None, ("a", "b", "c", "d")).classes == 4


ALL = (
    *("--augment", "flip,rotate", "--class-weights", "balanced"),
    *("--early-stopping", 1, "--freeze", "head"),
)


@pytest.mark.slow
def test_a_resumed_training_ends_as_one_that_was_not_stopped(tmp_path):
    data = commands.archive(tmp_path / "data.npz", (16, 8))
    test = commands.archive(tmp_path / "test.npz", (4, 4))
    weights, results = [], []
    for name, stops in (("whole", (4,)), ("parts", (2, 4))):
        client, server = commands.halves()
        client.save(tmp_path / "client.keras")
        with server.serve(port=0) as running:
            for epochs in stops:
                result = commands.run(
                    *("train", tmp_path / "client.keras", "--data", data),
                    *("--server", running.target, "--epochs", epochs),
                    *("--batch-size", 8, "--learning-rate", 0.05),
                    *("--resume", tmp_path / name, *ALL),
                    *("--validation-data", test),
                    *("--save", tmp_path / f"{name}.keras"),
                )
                assert result.returncode == 0, result.stderr
        results.append(result.stdout)
        trained = keras_split.load_model(tmp_path / f"{name}.keras")
        weights.append([*trained.get_weights(), *server.get_weights()])
        assert len(trained.trainable_variables) == 4
        assert len(trained.optimizer.variables) == 2 + 2 * 4
        assert trained.contract == client.contract
        about = trained.export(tmp_path / "client.tflite", batch_size=4)
        assert about["mode"] == "train"

    for whole, parts in zip(*weights, strict=True):
        np.testing.assert_array_equal(whole, parts)
    assert "2 of 4 epochs were done before." in results[1]
    assert results[0].splitlines()[3:4] == results[1].splitlines()[1:2]


def test_a_state_of_another_optimizer_or_rate_is_not_taken_in_silence(
    halves, tmp_path
):
    data = commands.archive(tmp_path / "data.npz", (8, 8))
    server = keras_split.load_model(halves / "server.keras")
    results = []

    with server.serve(port=0) as running:
        for options in (
            ("--epochs", 1),
            ("--epochs", 2, "--optimizer", "sgd"),
            ("--epochs", 2, "--learning-rate", 0.25),
        ):
            result = commands.run(
                *("train", halves / "client.keras", "--data", data, *options),
                *("--server", running.target, "--resume", tmp_path / "states"),
                *("--save", tmp_path / "trained.keras"),
            )
            results.append(result)

    first, other, third = results
    assert first.returncode == third.returncode == 0, third.stderr
    assert other.returncode == 1
    assert "Received: SGD" in other.stderr
    trained = keras_split.load_model(tmp_path / "trained.keras")
    assert float(trained.optimizer.learning_rate) == 0.25


def test_without_an_address_a_client_calls_the_server_it_knows(tmp_path):
    data = commands.archive(tmp_path / "data.npz", (8, 8))
    client, server = commands.halves()

    with server.serve(port=0) as running:
        client.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            strategy=keras_split.SplitStrategy(f"grpc://{running.target}"),
        )
        client.save(tmp_path / "client.keras")
        result = commands.run(
            *("train", tmp_path / "client.keras", "--data", data),
            *("--epochs", 1, "--microbatches", 2),
        )

    assert result.returncode == 0, result.stderr
    assert "Sent 0 B" not in result.stdout


@pytest.mark.slow
def test_a_frozen_head_need_not_send_an_image_twice(tmp_path):
    data = commands.archive(tmp_path / "data.npz", (16, 8))
    client, server = commands.halves()
    client.save(tmp_path / "client.keras")
    weights = [v.numpy().copy() for v in server.body.variables]
    told = []
    for more in ((), ("--reuse",)):
        for variable, value in zip(server.body.variables, weights, strict=True):
            variable.assign(value)
        with server.serve(port=0) as running:
            result = commands.run(
                *("train", tmp_path / "client.keras", "--data", data),
                *("--server", running.target, "--freeze", "head", *more),
                *("--epochs", 8, "--batch-size", 8),
            )
        assert result.returncode == 0, result.stderr
        told.append(result.stdout)

    whole, once = told
    last = re.findall(r"^.*Epoch 8/8.*$", whole, re.M)
    assert last and last == re.findall(r"^.*Epoch 8/8.*$", once, re.M)
    sent = [re.search(r"Sent ([\d.]+ \w+)", text).group(1) for text in told]
    assert bytes_of(sent[1]) < 0.8 * bytes_of(sent[0])


@pytest.mark.slow
def test_a_head_that_trains_has_nothing_to_reuse(tmp_path):
    data = commands.archive(tmp_path / "data.npz", (4, 4))
    client, server = commands.halves()
    client.save(tmp_path / "client.keras")

    with server.serve(port=0) as running:
        result = commands.run(
            *("train", tmp_path / "client.keras", "--data", data),
            *("--server", running.target, "--epochs", 1, "--reuse"),
        )

    assert result.returncode != 0
    assert "Freeze all layers up to" in result.stderr
    assert "Traceback" not in result.stderr


def bytes_of(text):
    number, unit = text.split()
    return float(number) * {"B": 1, "KiB": 1024, "MiB": 1 << 20}[unit]


@pytest.mark.slow
def test_early_stopping_brings_both_halves_back(tmp_path):
    data = commands.archive(tmp_path / "data.npz", (16, 8))
    test = commands.archive(tmp_path / "test.npz", (4, 4), wrong=True)
    client, server = commands.halves()
    client.save(tmp_path / "client.keras")
    arguments = (
        *("train", tmp_path / "client.keras", "--data", data),
        *("--validation-data", test, "--batch-size", 8, "--epochs", 20),
        *("--learning-rate", 0.1, "--early-stopping", 2),
        *("--resume", tmp_path / "states"),
        *("--save", tmp_path / "trained.keras"),
    )

    with server.serve(port=0) as running:
        arguments = (*arguments, "--server", running.target)
        first = commands.run(*arguments)
        trained = keras_split.load_model(tmp_path / "trained.keras")
        before = [half.get_weights() for half in (trained, server)]
        again = commands.run(*arguments)
        trained = keras_split.load_model(tmp_path / "trained.keras")
        trained.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            strategy=keras_split.SplitStrategy(f"grpc://{running.target}"),
        )
        arrays = np.load(test)
        loss, _ = trained.evaluate(arrays["x"], arrays["y"], 8, verbose=0)
        trained.close()

    for result in (first, again):
        assert result.returncode == 0, result.stderr
        assert "Stopped early. Both halves are those of epoch " in result.stdout
    assert "Epoch 20/" not in first.stdout
    assert "Epoch " not in again.stdout
    losses = [float(x) for x in re.findall(r"val_loss (\S+),", first.stdout)]
    best = min(losses)
    assert losses.index(best) == len(losses) - 3
    assert loss == pytest.approx(best, abs=1e-4)
    for half, old in zip((trained, server), before, strict=True):
        for a, b in zip(half.get_weights(), old, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_preset_that_is_trained_here_may_freeze_its_body(tmp_path):
    data = commands.archive(tmp_path / "data.npz", (16, 8))
    test = commands.archive(tmp_path / "test.npz", (4, 4), wrong=True)

    result = commands.run(
        *("train", "tiny", "--input-size", 32, "--data", data),
        *("--validation-data", test, "--epochs", 9, "--batch-size", 8),
        *("--freeze", "body,tail", "--early-stopping", 1, "--augment", "flip"),
        *("--learning-rate", 0.01, "--save", tmp_path / "trained.keras"),
        *("--secret-file", tmp_path / "secret"),
    )

    assert result.returncode == 0, result.stderr
    assert "Both halves are those of epoch " in result.stdout
    trained = keras_split.load_model(tmp_path / "trained.keras")
    network = Network("tiny", "spliteasy", 32, 2, None, None, 0, "int8", None)
    secret = bytes.fromhex((tmp_path / "secret").read_text())
    untrained, _ = network.load(secret)
    for half, same in (("head", False), ("tail", True)):
        pairs = zip(
            getattr(trained, half).get_weights(),
            getattr(untrained, half).get_weights(),
            strict=True,
        )
        assert all(np.array_equal(a, b) for a, b in pairs) is same


@pytest.mark.slow
def test_a_training_that_died_in_its_first_epoch_begins_alike(tmp_path):
    data = commands.archive(tmp_path / "data.npz", (8, 8))
    ended = []

    for _ in range(2):
        result = commands.run(
            *("train", "tiny", "--input-size", 32, "--data", data),
            *("--epochs", 1, "--batch-size", 8, "--seed", 5),
            *("--resume", tmp_path / "states"),
            *("--save", tmp_path / "trained.keras"),
        )
        assert result.returncode == 0, result.stderr
        ended.append(keras_split.load_model(tmp_path / "trained.keras"))
        for state in (tmp_path / "states").glob("*.h5"):
            state.unlink()

    pairs = zip(*(client.get_weights() for client in ended), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert (tmp_path / "states" / "secret").stat().st_mode & 0o777 == 0o600


def test_results_go_to_stdout_and_progress_to_stderr(halves, tmp_path):
    data = commands.archive(tmp_path / "data.npz", (8, 8))
    server = keras_split.load_model(halves / "server.keras")

    with server.serve(port=0) as running:
        result = commands.run(
            *("train", halves / "client.keras", "--data", data, "--epochs", 1),
            *("--server", running.target, "--log-dir", tmp_path / "logs"),
        )

    assert result.returncode == 0, result.stderr
    (epoch, sent) = result.stdout.splitlines()
    assert epoch.startswith("Epoch 1/1: loss ") and ", val_loss " in epoch
    assert sent.endswith("for 15 training images and 1 validation.")
    assert "Loading" in result.stderr and "Adam at a" in result.stderr
    assert "is gone at the end: --save FILE keeps it." in result.stderr
    assert "Warning" not in result.stderr
    assert {p.name for p in (tmp_path / "logs").iterdir()} == {
        "train",
        "validation",
    }


def test_a_log_for_tensorboard_asks_for_it(halves, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    data = commands.archive(tmp_path / "data.npz", (4, 4))

    result = commands.run(
        *("train", halves / "client.keras", "--server", "127.0.0.1:9"),
        *("--data", data, "--log-dir", tmp_path / "logs"),
    )

    assert result.returncode == 1
    assert "pip install tensorboard" in result.stderr


def test_a_model_that_is_cut_once_gets_its_labels_in_form(tmp_path):
    data = commands.archive(tmp_path / "data.npz", (8, 8))
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            keras.layers.Conv2D(2, 3, name="first"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    for loss, code in ((None, 1), ("categorical_crossentropy", 0)):
        if loss is not None:
            model.compile("sgd", loss, metrics=["accuracy"])
        client, server = keras_split.compile(model, "first")
        client.save(tmp_path / "client.keras")

        with server.serve(port=0) as running:
            result = commands.run(
                *("train", tmp_path / "client.keras", "--epochs", 1),
                *("--server", running.target, "--data", data),
                *("--class-weights", "balanced"),
            )

        assert result.returncode == code, result.stderr
    assert "Epoch 1/1: loss " in result.stdout


def test_classes_to_validate_with_have_the_numbers_of_their_names(
    tmp_path, photos
):
    shutil.copytree(photos / "dark", tmp_path / "test" / "dark")
    (tmp_path / "test" / "bright").mkdir()
    shutil.move(
        photos / "bright" / "1.png", tmp_path / "test" / "bright" / "1.png"
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "test" / "bright" / "1.png")
    shutil.rmtree(photos.parent / "photos" / "bright")
    for name in ("aaa", "bright"):
        shutil.copytree(photos / "dark", photos / name)

    found = read_all(str(photos), str(tmp_path / "test"), (8, 8, 3), 0.1, 0)

    assert found.class_names == ("aaa", "bright", "dark")
    assert len(found.train[0]) == 60
    assert sorted(found.validation[1].tolist()) == [1] + [2] * 20
    with pytest.raises(DataError, match="Received: 'aaa'"):
        read_all(str(tmp_path / "test"), str(photos), (8, 8, 3), 0.1, 0)


@pytest.mark.slow
def test_the_demo_prints_its_table():
    result = call("demo", "--epochs", 1, "--images", 64)

    assert result.returncode == 0, result.stderr
    for text in ("test accuracy", "median step", "SplitEasy", "times more"):
        assert text in result.stdout


@pytest.mark.slow
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
                    *("--secret-file", tmp_path / "secret"),
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
