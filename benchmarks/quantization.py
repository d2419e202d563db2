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
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _link import Link
from _report import Report
from _report import machine
from _report import write_option

import keras_split
from keras_split import datasets
from keras_split.quantization import Quantization
from keras_split.quantization import Rule
from keras_split.quantize import simulate

BATCH = 32
CUT = ["pool1", "pool3"]
# Student's t for 95 % and n - 1 degrees of freedom.
_T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 9: 2.262}


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


def load_data() -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """6,000 training images and all 10,000 test images, from -1 to 1."""
    train, _ = datasets.fashion_mnist.load_subset()
    _, test = datasets.fashion_mnist.load_full()
    return tuple(
        (datasets.to_model_input(x, (28, 28, 1), "tf"), y)
        for x, y in (train, test)
    )


def run(
    data: tuple[tuple[np.ndarray, ...], ...],
    rule: Quantization,
    seed: int,
    epochs: int,
    *,
    sockets: bool,
    codec: str = "raw",
) -> tuple[float, float, float]:
    """Trains once: test accuracy in %, bytes a training sample up and down."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    (x, y), test = data
    client, server = keras_split.compile(
        network(), CUT, quantization=rule, codec=codec
    )
    proxy = listener = strategy = None
    if sockets:
        listener = server.serve(port=0)
        proxy = Link(listener.target)
        strategy = keras_split.SplitStrategy(f"grpc://{proxy.address}")
    # The rate falls to nothing, so that a run ends settled and seeds agree.
    steps = epochs * -(-len(x) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    client.compile(
        keras.optimizers.Adam(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        strategy=strategy,
    )
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        client.fit(
            x[order],
            y[order],
            batch_size=BATCH,
            shuffle=False,
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose=0,
        )
    counted = (
        (proxy.uplink_bytes, proxy.downlink_bytes)
        if proxy
        else (client.strategy.uplink_bytes, client.strategy.downlink_bytes)
    )
    accuracy = 100 * client.evaluate(*test, batch_size=500, verbose=0)[1]
    client.close()
    if listener and proxy:
        listener.stop()
        proxy.close()
    up, down = (c / (epochs * len(x)) for c in counted)
    return accuracy, up, down


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval."""
    spread = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(_T95[len(values) - 1] * spread)


def compare(seeds: int, epochs: int, names: list[str], report: Report) -> None:
    """float32 against the default rules, over gRPC."""
    import _plots

    data = load_data()
    scores: dict[str, list[float]] = {name: [] for name in names}
    sizes: dict[str, tuple[float, float]] = {}
    for seed in range(seeds):
        for name in names:
            bits, _, codec = name.partition("+")
            accuracy, up, down = run(
                data,
                Quantization(bits),
                seed,
                epochs,
                sockets=True,
                codec=codec or "raw",
            )
            scores[name].append(accuracy)
            sizes[name] = (up, down)
            print(f"seed {seed} {name}: {accuracy:.2f} %", flush=True)
    base = np.array(scores["float32"])
    whole = sum(sizes["float32"])
    report.say(
        f"{machine()}; {seeds} paired seeds, {epochs} epochs of "
        f"{len(data[0][0]):,} training images, batch {BATCH}, tested on "
        f"{len(data[1][0]):,}; bytes of one training image, counted on the "
        "socket, framing included. The intervals are of 95 %."
    )
    report.header(
        *("rule", "accuracy %:", "minus float32, points:", "up:", "down:"),
        "times fewer bytes:",
    )
    points = []
    for name in names:
        values = np.array(scores[name])
        mean, _ = interval(values)
        change, half = interval(values - base)
        up, down = sizes[name]
        report.row(
            name,
            f"{mean:.2f}",
            f"{change:+.2f} ± {half:.2f}" if name != "float32" else "",
            f"{up:,.0f}",
            f"{down:,.0f}",
            f"{whole / (up + down):.2f}",
        )
        points.append((name, up + down, mean, half))
    report.end()
    figure = _plots.scatter(
        points,
        x="bytes of a training image, both ways (logarithmic)",
        y="test accuracy, %",
        bands={"float32 - 0.5 points": float(base.mean()) - 0.5},
    )
    report.plot(figure, "Points of accuracy over bytes, by coding")
    report.close()


def choose(seeds: int, epochs: int) -> None:
    """Granularity and rounding, in this process (the numbers are the same)."""
    data = load_data()
    print("| bits | granularity | rounding | points against float32 (95 %) |")
    print("| --- | --- | --- | ---: |")
    base = np.array(
        [
            run(data, Quantization("float32"), s, epochs, sockets=False)[0]
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
            [run(data, rule, s, epochs, sockets=False)[0] for s in range(seeds)]
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
    strategy = _Recorder()
    client.compile(
        keras.optimizers.Adam(1e-3),
        "sparse_categorical_crossentropy",
        strategy=strategy,
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
        for tensors in (strategy.smashed, strategy.gradients):
            found = []
            for tensor in tensors[-20:]:
                rounded = simulate(tensor, rule).numpy()
                scale = np.sqrt(np.mean(tensor**2))
                found.append(np.sqrt(np.mean((rounded - tensor) ** 2)) / scale)
            cells.append(f"{100 * float(np.mean(found)):.2f} %")
        print(f"| {bits} | {granularity} | {rounding} | {' | '.join(cells)} |")


class _Recorder(keras_split.SplitStrategy):
    """Keeps what went over the first cut, both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.smashed: list[np.ndarray] = []
        self.gradients: list[np.ndarray] = []

    def forward(self, smashed: Any) -> Any:
        tensor = smashed[0]
        self.smashed.append(tensor.codes.reshape(tensor.shape))
        return super().forward(smashed)

    def backward(self, features_grad: Any, learning_rate: float) -> Any:
        result = super().backward(features_grad, learning_rate)
        self.gradients.append(result[0].codes.reshape(result[0].shape))
        return result


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
        compare(options.seeds, options.epochs, options.rules, report)


if __name__ == "__main__":
    main()
