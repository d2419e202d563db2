"""One phone of ten that lies, and what protects the others from it.

    python benchmarks/poisoned.py [--phones 10] [--factor -100] [--epochs 2]

The phones train one model in a merged cohort whose gradients are averaged
after every step, over gRPC on this machine; their server and they are threads
here. The one that lies multiplies its loss, and so all of its gradients: those
of its half, and those that the server gets. Its server clips the gradients of
each phone to the median phone's (`clip_gradients`), and averages those of the
halves by the trimmed mean (Yin et al. 2018), or does neither.
"""

import argparse
import os
import threading

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _report import Report
from _report import machine
from _report import write_option
from keras import layers

import keras_split
from keras_split import datasets
from keras_split.server import CohortConfig
from keras_split.utils.counted import counted

CUT = ["first", "second"]
UNPROTECTED = {"mean": "mean", "clip_gradients": None}
PROTECTED = {"mean": "trimmed-mean", "clip_gradients": 2.0}


def network() -> keras.Model:
    """A small CNN with batch normalization in the body."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.MaxPooling2D(name="first"),
            layers.Conv2D(16, 3),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(32, activation="relu", name="second"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def train(
    options: argparse.Namespace, protection: dict[str, object], factor: float
) -> float:
    """Accuracy of the model of all phones, of which the last one lies."""
    (x, y), (xt, yt) = (
        (datasets.to_model_input(images, (28, 28, 1), "tf"), labels)
        for images, labels in datasets.fashion_mnist.load_subset()
    )
    phones = options.phones
    shards = np.array_split(
        np.random.default_rng(0).permutation(len(x)), phones
    )
    _, server = keras_split.compile(network(), CUT, quantization="float32")
    config = CohortConfig(
        "merged",
        phones=phones,
        batch=options.batch,
        plain_aggregation=True,
        step_deadline_s=2,
        seed=0,
        **protection,
    )
    running = server.serve(port=0, cohort=config)
    clients = []
    for number in range(phones):
        client, _ = keras_split.compile(network(), CUT, quantization="float32")
        scale = factor if number == phones - 1 else 1.0

        def loss(y: object, p: object, scale: float = scale) -> object:
            losses = keras.losses.sparse_categorical_crossentropy(y, p)
            return scale * losses

        client.compile(
            keras.optimizers.SGD(options.rate),
            loss,
            metrics=["accuracy"],
            run_eagerly=True,  # TensorFlow has no thread for each phone
            strategy=keras_split.SplitStrategy(f"grpc://{running.target}"),
        )
        clients.append(client)

    def run(number: int) -> None:
        chosen = shards[number]
        clients[number].fit(
            x[chosen],
            y[chosen],
            batch_size=32,
            epochs=options.epochs,
            verbose=0,
            callbacks=[keras_split.FederatedAveraging(1, examples=len(chosen))],
        )

    threads = [
        threading.Thread(target=run, args=(number,)) for number in range(phones)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accuracy = clients[0].evaluate(xt, yt, batch_size=500, verbose=0)[1]
    for client in clients:
        client.close()
    running.stop(0)
    return float(accuracy)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phones", type=int, default=10)
    parser.add_argument("--factor", type=float, default=-100.0)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.1)
    write_option(parser)
    options = parser.parse_args()
    report = Report("poisoned", write=options.write)
    epochs = counted(options.epochs, "epoch")
    report.say(
        f"{machine()}; {options.phones} phones, {epochs} of 6,000 images in "
        f"merged steps of {options.batch}, SGD; 2,000 images to test."
    )
    report.header("one phone's gradients", "protection", "accuracy:")
    for lie, factor in (
        ("true", 1.0),
        (f"times {options.factor:g}", options.factor),
    ):
        for name, protection in (
            ("none", UNPROTECTED),
            ("trimmed mean, clipped", PROTECTED),
        ):
            accuracy = train(options, protection, factor)
            report.row(lie, name, f"{accuracy:.3f}")
    report.end()
    report.close()


if __name__ == "__main__":
    main()
