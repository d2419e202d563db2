"""Split training on Fashion-MNIST, paired over seeds, for benchmarks."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from _link import Link
from _report import Report
from _report import machine

import keras_split
from keras_split import datasets
from keras_split.compression import presets
from keras_split.compression.rules import Quantization

Data = tuple[tuple[np.ndarray, ...], ...]
# Student's t for 95 % and n - 1 degrees of freedom.
_T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 9: 2.262}


@dataclass(frozen=True)
class Setting:
    """What is trained, and how long.

    Attributes:
        network: Builds the network.
        cut: Where it is cut.
        batch: Images of a step.
        epochs: Rounds over the training images.
        rate: Learning rate of Adam at the start; it falls to nothing along a
            cosine, so that a run ends settled and seeds agree.
        sockets: Whether the server is reached over gRPC, and bytes are those
            of the socket; or in this process, with the same numbers.
    """

    network: Callable[[], keras.Model]
    cut: list[str]
    batch: int
    epochs: int
    rate: float = 2e-3
    sockets: bool = True


def load_data(full: bool = False) -> Data:
    """Training images, 6,000 or all 60,000, and all 10,000 test images.

    Values are from -1 to 1.
    """
    everything, test = datasets.fashion_mnist.load_full()
    train, _ = datasets.fashion_mnist.load_subset()
    return tuple(
        (datasets.to_model_input(x, (28, 28, 1), "tf"), y)
        for x, y in (everything if full else train, test)
    )


def parse(name: str) -> tuple[str | Quantization, str | None]:
    """Quantization and codec from a name such as `"int4/int2:8+zstd"`.

    That is int4 for activations, int2 for gradients, one value of each block
    of 8, and zstd. The codec of a preset is its own.
    """
    rules, _, codec = name.partition("+")
    if rules in presets.PRESETS:
        return rules, codec or None
    rules, _, block = rules.partition(":")
    activations, _, gradients = rules.partition("/")
    quantization = Quantization(
        activations, gradients or None, block=int(block or 1)
    )
    return quantization, codec or "raw"


def run(
    setting: Setting,
    data: Data,
    quantization: str | Quantization,
    seed: int,
    codec: str | None = None,
) -> tuple[float, float, float]:
    """Trains once: test accuracy in %, bytes a training sample up and down."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    (x, y), test = data
    client, server = keras_split.compile(
        setting.network(),
        setting.cut,
        quantization=quantization,
        codec=codec,
        fused_batchnorm=True,  # for float32 as for all others
    )
    proxy = listener = strategy = None
    if setting.sockets:
        listener = server.serve(port=0)
        proxy = Link(listener.target)
        strategy = keras_split.SplitStrategy(f"grpc://{proxy.address}")
    steps = setting.epochs * -(-len(x) // setting.batch)
    rate = keras.optimizers.schedules.CosineDecay(setting.rate, steps)
    client.compile(
        keras.optimizers.Adam(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        strategy=strategy,
    )
    rng = np.random.default_rng(seed)
    for epoch in range(setting.epochs):
        order = rng.permutation(len(x))
        client.fit(
            x[order],
            y[order],
            batch_size=setting.batch,
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
    up, down = (c / (setting.epochs * len(x)) for c in counted)
    return accuracy, up, down


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval."""
    spread = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(_T95[len(values) - 1] * spread)


def compare(
    setting: Setting, data: Data, names: list[str], seeds: int, report: Report
) -> None:
    """Codings beside float32, which must be among them."""
    import _plots

    scores: dict[str, list[float]] = {name: [] for name in names}
    sizes: dict[str, tuple[float, float]] = {}
    for seed in range(seeds):
        for name in names:
            quantization, codec = parse(name)
            accuracy, up, down = run(setting, data, quantization, seed, codec)
            scores[name].append(accuracy)
            sizes[name] = (up, down)
            print(f"seed {seed} {name}: {accuracy:.2f} %", flush=True)
    base = np.array(scores["float32"])
    whole = sum(sizes["float32"])
    report.say(
        f"{machine()}; {seeds} paired seeds, {setting.epochs} epochs of "
        f"{len(data[0][0]):,} training images, batch {setting.batch}, tested "
        f"on {len(data[1][0]):,}; bytes of one training image, counted on the "
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
