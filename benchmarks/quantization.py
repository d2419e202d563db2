"""What quantization costs in accuracy, and saves in bytes, on real images.

    python benchmarks/quantization.py             # rules, over gRPC
    python benchmarks/quantization.py --choose    # granularity and rounding
    python benchmarks/quantization.py --error     # their error, in a minute

6,000 training images of Fashion-MNIST (those that come with keras_split) and
all 10,000 test images; a small convolutional network with BatchNorm, cut in
a U. Runs are paired: for each seed every rule starts from the same weights
and sees the same batches. Bytes are counted on the socket, by a proxy between
client and server.
"""

import argparse
import itertools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _fashion import Setting
from _fashion import compare
from _fashion import interval
from _fashion import load_data
from _fashion import run
from _report import Report
from _report import write_option

import keras_split
from keras_split.compression.quantize import simulate
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import SmashedGrad

BATCH = 32
CUT = ["pool1", "pool3"]


def network() -> keras.Model:
    """Three convolutions with BatchNorm; 60,000 parameters."""
    layers = keras.layers
    x = inputs = keras.Input((28, 28, 1))
    for number, width in enumerate((16, 32, 64), start=1):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def choose(seeds: int, epochs: int) -> None:
    """Granularity and rounding, in this process (the numbers are the same)."""
    data = load_data()
    setting = Setting(network, CUT, BATCH, epochs, sockets=False)
    print("| bits | granularity | rounding | points against float32 (95 %) |")
    print("| --- | --- | --- | ---: |")
    base = np.array(
        [
            run(setting, data, Quantization("float32"), s)[0]
            for s in range(seeds)
        ]
    )
    roundings = (
        ("nearest", "nearest"),
        ("nearest", "stochastic"),
        ("stochastic", "stochastic"),
    )
    for bits, granularity, (forward, backward) in itertools.product(
        ("int4", "int2"), ("tensor", "example", "channel"), roundings
    ):
        rule = Quantization(
            Rule(bits, granularity, forward), Rule(bits, granularity, backward)
        )
        values = np.array(
            [run(setting, data, rule, s)[0] for s in range(seeds)]
        )
        change, half = interval(values - base)
        print(
            f"| {bits} | {granularity} | {forward} / {backward} | "
            f"{change:+.2f} ± {half:.2f} |",
            flush=True,
        )


def errors() -> None:
    """Relative error of every rule on the tensors of real steps."""
    (x, y), _ = load_data()
    keras.utils.set_random_seed(0)
    client, _ = keras_split.compile(network(), CUT, quantization="float32")
    recorder = _Recorder()
    client.compile(
        keras.optimizers.Adam(1e-3),
        "sparse_categorical_crossentropy",
        strategy=keras_split.SplitStrategy(taps=[recorder]),
    )
    client.fit(x, y, batch_size=BATCH, epochs=2, verbose=0)
    print("| bits | granularity | rounding | smashed data | gradients |")
    print("| --- | --- | --- | ---: | ---: |")
    for bits, granularity, rounding in itertools.product(
        ("int8", "int4", "int2"),
        ("tensor", "example", "channel"),
        ("nearest", "stochastic"),
    ):
        rule = Rule(bits, granularity, rounding)
        cells = []
        for tensors in (recorder.smashed, recorder.gradients):
            found = []
            for tensor in tensors[-20:]:
                rounded = simulate(tensor, rule).numpy()
                scale = np.sqrt(np.mean(tensor**2))
                found.append(np.sqrt(np.mean((rounded - tensor) ** 2)) / scale)
            cells.append(f"{100 * float(np.mean(found)):.2f} %")
        print(f"| {bits} | {granularity} | {rounding} | {' | '.join(cells)} |")


class _Recorder(keras_split.SessionTap):
    """Keeps what went over the first cut, both ways."""

    def __init__(self) -> None:
        self.smashed: list[np.ndarray] = []
        self.gradients: list[np.ndarray] = []

    def received(self, message: Message, reply: Message) -> None:
        if isinstance(message, Forward):
            tensor = message.tensors[0]
            self.smashed.append(tensor.codes.reshape(tensor.shape))
        elif isinstance(reply, SmashedGrad):
            tensor = reply.tensors[0]
            self.gradients.append(tensor.codes.reshape(tensor.shape))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--error", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument(
        "--rules",
        nargs="*",
        default=["float32", "int8", "int4", "int8+zstd", "int4+zstd"],
    )
    write_option(parser)
    options = parser.parse_args()
    if options.error:
        errors()
    elif options.choose:
        choose(options.seeds, options.epochs)
    else:
        report = Report("quantization", write=options.write)
        setting = Setting(network, CUT, BATCH, options.epochs)
        compare(setting, load_data(), options.rules, options.seeds, report)
        report.close()


if __name__ == "__main__":
    main()
