"""The page "From photos to a deployed model", as a person types it.

Its commands are read from the page, so the two cannot disagree. Only the port
and the network are others here: a small one that is float32 on the link, so
that the whole scores exactly what its halves did.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_split
from keras_split import datasets
from tests.cli import commands
from tests.test_docs import whole_commands

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[1] / "docs" / "from-photos-to-a-model.md"
KINDS = {"bag": 8, "sneaker": 7, "trouser": 1}
EPOCHS = "6"
NAMES = [
    *("export", "certs", "serve", "train", "train", "evaluate"),
    *("join", "join", "evaluate", "evaluate", "predict"),
    *("device train", "device evaluate", "join", "evaluate"),
]


def typed():
    """The page's commands, as lists of words."""
    found = whole_commands(PAGE)
    names = [" ".join(w[: 1 + (w[0] == "device")]) for w in found]
    assert names == NAMES
    return found


def with_values(words, **values):
    """A command with other values of its options."""
    words = list(words)
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if option in words:
            words[words.index(option) + 1] = str(value)
    return words


def save(image, folder, number):
    """An image in one of six forms, with a size of its own."""
    module = pytest.importorskip("PIL.Image")
    size = 24 + number % 17
    image = image.resize((size, size + number % 3))
    form = number % 6
    if form == 0:
        image.convert("RGB").save(folder / f"{number}.jpg", quality=95)
    elif form == 1:
        image.save(folder / f"{number}.png")
    elif form == 2:
        image.convert("P").save(folder / f"{number}.gif")
    elif form == 3:
        image.convert("RGBA").save(folder / f"{number}.png")
    elif form == 4:
        deep = np.asarray(image).astype(np.uint16) * 257
        module.fromarray(deep).save(folder / f"{number}.png")
    else:
        image.convert("RGB").save(folder / f"{number}.tiff")


def write(folder, split, kinds, count):
    """Real photos of some classes, a folder for each."""
    module = pytest.importorskip("PIL.Image")
    x, y = split
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        rows = np.flatnonzero(y == KINDS[kind])[:count]
        for number, row in enumerate(rows):
            save(module.fromarray(x[row, ..., 0]), folder / kind, number)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folders of Anna, of Ben, who has no sneakers, and of a test."""
    folder = tmp_path_factory.mktemp("way")
    train, test = datasets.load("fashion_mnist", channels=1)
    write(folder / "anna", train, KINDS, 100)
    backwards = tuple(array[::-1] for array in train)
    write(folder / "ben", backwards, ["bag", "trouser"], 60)
    write(folder / "test", test, KINDS, 40)
    (folder / "ben" / "bag" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    return folder


@pytest.fixture(scope="module")
def halves(photos):
    """Keys, made as the page says, and both halves of a small network.

    The page's own takes most of a minute to trace.
    """
    export, certs, *_ = typed()
    names = export[export.index("--class-names") + 1].split(",")
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(8, 3, 2, activation="relu", name="first"),
        keras.layers.Conv2D(16, 3, 2, activation="relu"),
        keras.layers.BatchNormalization(momentum=0.8),
        keras.layers.MaxPooling2D(name="second"),
        keras.layers.Flatten(),
        keras.layers.Dense(len(names), activation="softmax"),
    ]
    client, server = keras_split.compile(
        keras.Sequential([keras.Input((32, 32, 3)), *layers]),
        ["first", "second"],
        quantization="float32",
        data_spec=keras_split.DataSpec.of(lambda x: x / 127.5 - 1, names),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(photos)
        Path("halves").mkdir()
        client.save("halves/client.keras")
        server.save("halves/server.keras")
        done(commands.run("export", "halves/client.keras", "-o", "halves"))
        done(commands.run(*certs))
    return photos


@pytest.fixture
def here(halves, monkeypatch):
    monkeypatch.chdir(halves)
    return halves


def start(words):
    """`keras-split` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "keras_split_cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@contextmanager
def serving(words):
    """Runs the server as the page says; yields its address."""
    process = start(with_values(words, port=0))
    try:
        for line in process.stdout:
            if line.startswith("Serving "):
                break
        yield re.search(r"localhost:\d+", line)[0]
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=60)
        assert process.returncode == 0, out + error
    finally:
        process.kill()
        process.communicate()


def done(result):
    """What a command printed, if it did what it should."""
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def kill_after_an_epoch(words, folder):
    """Starts a training, and kills it once it has kept an epoch."""
    process = start(words)
    try:
        end = time.monotonic() + 120
        while not list(folder.glob("epoch-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()


def figures(path):
    return json.loads(Path(path).read_text())


def test_from_photos_on_two_phones_to_one_file(here):
    _, _, serve, anna, ben, evaluate, *rest = typed()
    join, join_tflite, whole, whole_tflite, predict, *_ = rest
    with serving(serve) as target:
        anna = with_values(anna, server=target, epochs=EPOCHS)
        kill_after_an_epoch(anna, here / "anna-state")
        assert "done before" in done(commands.run(*anna))

        ben = with_values(ben, server=target)
        broken = commands.run(*(w for w in ben if w != "--skip-unreadable"))
        assert broken.returncode == 1
        assert "broken.jpg" in broken.stderr
        assert "bag, sneaker, trouser" in done(commands.run(*ben))

        done(commands.run(*with_values(evaluate, server=target)))

    old = commands.run(*("anna.keras" if w == "ben.keras" else w for w in join))
    assert old.returncode == 1
    assert "steps behind" in old.stderr
    for words in (join, join_tflite, whole, whole_tflite):
        done(commands.run(*words))

    said = figures("halves.json")["metrics"]
    assert said["accuracy"] > 0.5  # of three classes
    joined = figures("whole-keras.json")["metrics"]
    assert joined == pytest.approx(said, rel=1e-6, abs=1e-6)
    rows = figures("whole-tflite.json")
    assert rows["images"] == 120
    missed = abs(rows["metrics"]["accuracy"] - said["accuracy"]) * 120
    assert missed < 1.5
    assert done(commands.run(*predict)).count("bag") >= 40


def test_from_the_state_of_a_device_to_one_file(here):
    _, _, serve, *_, train, evaluate, join, whole = typed()
    serve = with_values(serve, save="body.keras")
    kept = serve.index("--checkpoints")
    with serving([*serve[:kept], *serve[kept + 2 :]]) as target:
        done(commands.run(*with_values(train, server=target, epochs=EPOCHS)))
        done(commands.run(*with_values(evaluate, server=target)))
    for words in (join, whole):
        done(commands.run(*words))

    on_device, whole_file = figures("device.json"), figures("app.json")
    assert on_device["images"] == whole_file["images"] == 120
    said = on_device["metrics"]["accuracy"]
    assert said > 0.5  # of three classes
    assert abs(whole_file["metrics"]["accuracy"] - said) * 120 < 1.5
