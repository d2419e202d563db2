"""What the tests of commands share."""

import io
import os
import subprocess
import sys
import traceback
from contextlib import redirect_stderr
from contextlib import redirect_stdout
from importlib.metadata import EntryPoint
from pathlib import Path
from unittest import mock

import keras
import numpy as np

import keras_split
from keras_split import zoo
from keras_split.utils import malloc
from keras_split_cli.main import main


def python(*arguments, **environment):
    """Runs Python in a process of its own."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def run(*arguments):
    """Calls `keras-split` in this process, which has imported TensorFlow.

    Args:
        *arguments: Of the command.

    Returns:
        Exit code, stdout and stderr, as of a process of its own.
    """
    arguments, code = [*map(str, arguments)], 0
    out, error = io.StringIO(), io.StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(error),
        mock.patch.dict(os.environ, COLUMNS="100"),
        mock.patch.object(malloc, "keep"),  # it would stay
    ):
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code
        except Exception:  # as Python does
            traceback.print_exc()
            code = 1
    return subprocess.CompletedProcess(
        arguments, code, out.getvalue(), error.getvalue()
    )


def tiny(input_shape, classes, weights=None):
    """The network of the preset `tiny`."""
    layers = keras.layers
    image = keras.Input(input_shape)
    x = layers.Conv2D(2, 3, 4, name="first")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(3, 3, 2, activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, activation="softmax", name="last")(x)
    return keras.Model(image, x)


TINY = zoo.ImagePreset(
    name="tiny",
    summary="The smallest network with two cuts.",
    model="tests.cli.commands:tiny",
    preprocess="keras.applications.mobilenet_v2:preprocess_input",
    cuts={
        name: zoo.Cut(layers, None)
        for name, layers in (
            ("spliteasy", ("first", "pool")),
            ("deep", ("norm", "pool")),
        )
    },
)


def installed(monkeypatch):
    """Brings the preset `tiny`, as an installed package would."""
    entry = EntryPoint("tiny", "tests.cli.commands:TINY", zoo.GROUP)
    found = zoo.entry_points

    def entry_points(group):
        return [*found(group=group), *[entry] * (group == zoo.GROUP)]

    monkeypatch.setattr(zoo, "entry_points", entry_points)


def installed_in(folder):
    """The same for other processes: their environment, with a package."""
    about = folder / "tiny-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: tiny\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        f"[{zoo.GROUP}]\ntiny = tests.cli.commands:TINY\n"
    )
    root = Path(__file__).parents[2]
    before = os.environ.get("PYTHONPATH")
    paths = [str(folder), str(root), *[before] * (before is not None)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def halves(activation="softmax", classes=2, compiled=None):
    """A tiny client for images, and its server.

    Args:
        activation: Of the output.
        classes: How many it has.
        compiled: What the model is compiled with; None for nothing.
    """
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, name="first"),
            layers.Conv2D(4, 3, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(classes, activation=activation),
        ]
    )
    if compiled is not None:
        model.compile(**compiled)
    return keras_split.compile(model, ["first", "pool"])


def archive(path, counts, wrong=False):
    """Writes images, darker and brighter ones, so many of each class.

    Args:
        path: Of the .npz file.
        counts: Images of each class.
        wrong: Whether labels are those of others, so that a loss on them
            rises while the network learns.
    """
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(len(counts)), counts)
    x = rng.integers(0, 80, (len(y), 12, 12, 3)) + 80 * y[:, None, None, None]
    y = len(counts) - 1 - y if wrong else y
    np.savez(path, x=x.clip(0, 255).astype(np.uint8), y=y)
    return path
