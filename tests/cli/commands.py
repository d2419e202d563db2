"""What the tests of `train` and `device` share."""

import os
import subprocess
import sys

import keras

import keras_split


def python(*arguments, **environment):
    """Runs Python in a process of its own."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def halves():
    """A tiny client for images of two classes, and its server."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, name="first"),
            layers.Conv2D(4, 3, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(2, activation="softmax"),
        ]
    )
    return keras_split.compile(model, ["first", "pool"])
