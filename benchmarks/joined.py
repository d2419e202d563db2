"""What the link costs: two halves beside the one model that is made of them.

    python benchmarks/joined.py [--quantization int8 small ...] [--epochs 3]

A small network is trained over the link on the images that come with
keras_split, evaluated over it, joined with `keras_split.join`, and evaluated
again.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _fashion import parse
from _report import Report
from _report import machine
from _report import write_option
from keras import layers

import keras_split
from keras_split import datasets

CUT = ["first", "second"]


def network() -> keras.Model:
    """Two convolutions and a dense layer."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(name="first"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(name="second"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["float32", "int8", "int4", "small"]
    parser.add_argument("--quantization", nargs="*", default=names)
    parser.add_argument("--epochs", type=int, default=3)
    write_option(parser)
    options = parser.parse_args()
    report = Report("joined", write=options.write)
    (x, y), (xt, yt) = (
        (datasets.to_model_input(images, (28, 28, 1), "tf"), labels)
        for images, labels in datasets.fashion_mnist.load_subset()
    )
    report.say(
        f"{machine()}; Adam, {options.epochs} epochs of {len(x):,} images, "
        f"{len(xt):,} to test."
    )
    report.header(
        "quantization",
        "accuracy of the halves:",
        "joined:",
        "loss of the halves:",
        "joined:",
        "predictions that differ:",
    )
    for name in options.quantization:
        quantization, codec = parse(name)
        client, server = keras_split.compile(
            network(), CUT, quantization=quantization, codec=codec
        )
        client.compile(
            "adam", "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        client.fit(x, y, epochs=options.epochs, verbose=0)
        whole = keras_split.join(client, server)
        found = [
            (
                *model.evaluate(xt, yt, batch_size=500, verbose=0),
                model.predict(xt, batch_size=500, verbose=0).argmax(1),
            )
            for model in (client, whole)
        ]
        client.close()
        (loss, right, classes), (loss_2, right_2, classes_2) = found
        differ = float(np.mean(classes != classes_2))
        report.row(
            *(name, f"{right:.4f}", f"{right_2:.4f}"),
            *(f"{loss:.4f}", f"{loss_2:.4f}", f"{differ:.2%}"),
        )
    report.end()
    report.close()


if __name__ == "__main__":
    main()
