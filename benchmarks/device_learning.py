"""Does a phone learn what the Keras client learns?

    python benchmarks/device_learning.py [--seeds 3] [--epochs 3]

For each seed the demo's network (MobileNetV2 at 32x32, int8 on the link) is
trained on the 6,000 images of Fashion-MNIST that come with keras_split: by the
Keras client, and from the same weights with LiteRT in a process that cannot
import TensorFlow or Keras. Each has a server process of its own. Both see the
same batches. Adam's learning rate falls to nothing along a cosine: at a rate
that stays high, this network's accuracy swings by 2 to 3 points from epoch to
epoch. The accuracy is that on the 2,000 test images.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _report import Report
from _report import machine
from _report import write_option
from _server_process import serving

PRESET, SIZE, CLASSES, BATCH, RATE = "mobilenet_v2", 32, 10, 32, 1e-3
NETWORK = (
    *(PRESET, "--input-size", str(SIZE), "--classes", str(CLASSES)),
    *("--batchnorm-momentum", "0.9"),
)


def orders(count: int, epochs: int, seed: int) -> Iterator[np.ndarray]:
    """The order of the images in each epoch."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        yield rng.permutation(count)


def rate_at(step: int, steps: int, rate: float) -> float:
    """The learning rate: a cosine from `rate` to 0."""
    return 0.5 * rate * (1 + math.cos(math.pi * min(step / steps, 1)))


def train_keras(seed: int, epochs: int, target: str, path: Path) -> float:
    """Exports the untrained client to `path`, then trains it in Keras."""
    import keras

    import keras_split
    from keras_split import datasets
    from keras_split import zoo

    preset = zoo.get(PRESET)
    shape = (SIZE, SIZE, 3)
    client, _ = preset.load(
        input_shape=shape,
        classes=CLASSES,
        batchnorm_momentum=0.9,
        seed=seed,
    )
    prepare = zoo.resolve(preset.preprocess)
    client.compile(
        keras.optimizers.Adam(RATE),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        strategy=keras_split.SplitStrategy(f"grpc://{target}"),
    )
    client.export(path, batch_size=BATCH, preprocess=prepare)
    (x, y), (x_test, y_test) = datasets.load("fashion_mnist")
    x, x_test = (
        datasets.to_model_input(a, shape, prepare) for a in (x, x_test)
    )
    steps = epochs * -(-len(x) // BATCH)
    taken = iter(range(steps))

    class Schedule(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
            rate = rate_at(next(taken), steps, RATE)
            self.model.optimizer.learning_rate = rate

    for order in orders(len(x), epochs, seed):
        client.fit(
            x[order],
            y[order],
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
            callbacks=[Schedule()],
        )
    score = float(client.evaluate(x_test, y_test, verbose=0)[1])
    client.close()
    return score


def measure(seed: int, epochs: int) -> tuple[float, float]:
    """Accuracy in percent: of the Keras client, of the phone."""
    network = (*NETWORK, "--seed", str(seed))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "client.tflite")
        with serving(*network) as target:
            score = train_keras(seed, epochs, target, path)
        with serving(*network) as target:
            said = subprocess.run(
                [
                    sys.executable,
                    str(Path(__file__).with_name("_phone_learning.py")),
                    *(str(path), f"grpc://{target}"),
                    *(str(epochs), str(RATE), str(seed)),
                ],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
    return 100 * score, 100 * float(said)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    write_option(parser)
    arguments = parser.parse_args()
    report = Report("learning", write=arguments.write)
    report.say(
        f"{machine()}; {arguments.epochs} epochs of 6,000 images, Adam from "
        f"{RATE:g} to 0 along a cosine, int8 on the link, tested on 2,000 "
        "images."
    )
    report.header("seed:", "Keras client %:", "phone %:")
    rows = []
    for seed in range(arguments.seeds):
        rows.append(measure(seed, arguments.epochs))
        report.row(seed, *(f"{score:.2f}" for score in rows[-1]))
    report.end()
    means = np.mean(rows, axis=0)
    spreads = np.std(rows, axis=0, ddof=1) if len(rows) > 1 else means * 0
    report.say(
        f"Mean: Keras client {means[0]:.2f} %, phone {means[1]:.2f} %, a "
        f"difference of {means[1] - means[0]:+.2f}. Spread over the seeds "
        f"(standard deviation): {spreads[0]:.2f} and {spreads[1]:.2f}."
    )
    report.close()


if __name__ == "__main__":
    main()
