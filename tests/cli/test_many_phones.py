"""The README's example of three phones, typed as it stands there."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from keras import layers

import keras_split
from tests.cli.test_device import PHONE

README = Path(__file__).parents[2] / "README.md"


def example():
    """Its commands, the server's first, as lists of words."""
    text = README.read_text("utf-8")
    shell = re.search(
        r"<!-- many phones -->\n```bash\n(.*?)```", text, re.DOTALL
    )[1]
    return [
        shlex.split(line)
        for line in shell.replace("\\\n", "").splitlines()
        if line
    ]


def start(words, folder):
    """One of them, in a process of its own; the device has no TensorFlow."""
    how = ["-c", PHONE] if words[1] == "device" else ["-m", "keras_split_cli"]
    return subprocess.Popen(
        [sys.executable, "-u", *how, *words[1:]],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def files(tmp_path):
    """The folder with the three files of the example."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(name="first"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(name="second"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    phone, body = keras_split.compile(model, cut=["first", "second"])
    phone.compile(
        keras.optimizers.SGD(0.1),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    phone.save(tmp_path / "client.keras")
    phone.export(tmp_path / "client.tflite", batch_size=32)
    body.save(tmp_path / "server.keras")
    return tmp_path


@pytest.mark.slow
def test_three_phones_with_disjoint_classes_train_one_model(files):
    serve, *phones = example()
    assert len(phones) == 3
    serve[serve.index("--port") + 1] = "0"
    processes = [start([*serve, "--cohort-seed", "0"], files)]
    try:
        line = next(
            said for said in processes[0].stdout if said.startswith("Serving ")
        )
        address = re.search(r"(localhost|127\.0\.0\.1):\d+", line)[0]
        for words in phones:
            words[words.index("--server") + 1] = address
            processes.append(start(words, files))
        printed = [p.communicate(timeout=500) for p in processes[1:]]
        processes[0].send_signal(signal.SIGTERM)
        processes[0].communicate(timeout=60)
    finally:
        for process in processes:
            process.kill()
            process.communicate()

    validated = []
    for (out, error), process in zip(printed, processes[1:], strict=True):
        assert process.returncode == 0, out + error
        assert "cannot read" in out  # the server, this phone's half
        validated.append(re.findall(r"val_loss \S+, val_accuracy (\S+)", out))
    assert validated[0] == validated[1] == validated[2]
    assert float(validated[0][-1]) >= 0.75
