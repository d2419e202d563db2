"""The phone's half in LiteRT beside the same computation in TensorFlow.

    python benchmarks/device.py [--presets ...] [--batches 1 8] [--size 96]

LiteRT runs in a process of its own that never imports TensorFlow. For each
signature the two take turns, so that a noisy machine disturbs both alike; the
ratio is the median of the ratios of pairs. TensorFlow runs what Keras would:
stock layers, stock gradients, the optimizer's own update, one `tf.function`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _report import Report
from _report import machine
from _report import write_option

SIGNATURES = ("head_forward", "tail_step", "head_backward")
THREADS = 2


class Reference:
    """The three parts of a step as a Keras client computes them.

    Args:
        client: A compiled client.
        known: The inputs of all signatures by name.
    """

    def __init__(self, client: Any, known: dict[str, Any]) -> None:
        import tensorflow as tf

        from keras_split.compression.cut_codec import CutCodec

        contract, rules = client.contract, client.contract.quantization
        smashed = CutCodec(contract.smashed, rules.activations)
        features = CutCodec(contract.features, rules.activations)
        features_grad = CutCodec(contract.features, rules.gradients)
        smashed_grad = CutCodec(contract.smashed, rules.gradients)
        head, tail = client.head, client.tail
        for model in (head, tail):
            model.compile(
                type(client.optimizer).from_config(
                    client.optimizer.get_config()
                )
            )
            model.optimizer.build(model.trainable_variables)
        x = tf.constant(known["x_0"])
        labels = tf.constant(known["y_0"])

        def parts(name: str, crossing: Any) -> list[tf.Tensor]:
            ends = ("codes", "scales")
            return [
                tf.constant(known[f"{name}_0_{end}"])
                for end in ends
                if f"{name}_0_{end}" in known
            ]

        received = (
            parts("features", features),
            parts("smashed_grad", smashed_grad),
        )

        @tf.function
        def head_forward(x: tf.Tensor) -> Any:
            before = [tf.identity(v) for v in head.non_trainable_variables]
            made = smashed.quantize([head(x, training=True)])
            for v, old in zip(
                head.non_trainable_variables, before, strict=True
            ):
                v.assign(old)
            return made

        @tf.function
        def tail_step(codes: list[tf.Tensor], labels: tf.Tensor) -> Any:
            (arrived,) = features.dequantize(codes)
            with tf.GradientTape() as tape:
                tape.watch(arrived)
                loss = client.compute_loss(
                    None, labels, tail([arrived], training=True)
                )
            weights = tail.trainable_variables
            found = tape.gradient(loss, [arrived, *weights])
            tail.optimizer.apply(found[1:], weights)
            return loss, features_grad.quantize(found[:1])

        @tf.function
        def head_backward(x: tf.Tensor, codes: list[tf.Tensor]) -> Any:
            with tf.GradientTape() as tape:
                made = head(x, training=True)
            weights = head.trainable_variables
            grads = tape.gradient(
                made, weights, output_gradients=smashed_grad.dequantize(codes)
            )
            head.optimizer.apply(grads, weights)
            return head.optimizer.iterations

        self._calls: dict[str, Callable[[], Any]] = {
            "head_forward": lambda: head_forward(x)[0].numpy(),
            "tail_step": lambda: tail_step(received[0], labels)[0].numpy(),
            "head_backward": lambda: head_backward(x, received[1]).numpy(),
        }

    def seconds(self, name: str) -> float:
        """How long one call takes."""
        began = time.perf_counter()
        self._calls[name]()
        return time.perf_counter() - began


class Phone:
    """LiteRT in a process of its own."""

    def __init__(self, path: Path, data: Path, threads: int = THREADS) -> None:
        script = Path(__file__).with_name("_phone_process.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(path), str(data), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def seconds(self, name: str) -> float:
        """How long one call takes."""
        return float(self._say(name))

    def peak_bytes(self) -> int:
        """Ends the process; the most memory that it had."""
        peak = int(self._say(""))
        self._process.wait(30)
        return peak

    def _say(self, line: str) -> str:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def inputs(about: dict[str, Any]) -> dict[str, Any]:
    """Random values for every input of the signatures of a step."""
    rng = np.random.default_rng(0)
    known: dict[str, Any] = {
        "count": np.int32(about["batch_size"]),
        "step": np.int32(0),
        "learning_rate": np.float32(1e-3),
    }
    for name in SIGNATURES:
        for tensor in about["signatures"][name]["inputs"]:
            key, shape = tensor["name"], tensor["shape"]
            if key in known:
                continue
            if key.endswith("scales"):  # scale and zero point
                known[key] = np.tile(np.float32([1e-3, 128]), (shape[0], 1))
            elif key.endswith("codes"):
                codes = rng.integers(0, 256, shape)
                known[key] = codes.astype(tensor["dtype"])
            elif key.startswith("y"):
                known[key] = rng.integers(0, 10, shape).astype(tensor["dtype"])
            elif key.startswith("sample_weight"):
                known[key] = np.ones(shape, np.float32)
            else:
                known[key] = rng.standard_normal(shape, np.float32)
    return known


def measure(
    preset: str, *, size: int, batch: int, pairs: int, quantization: str
) -> dict[str, Any]:
    """Times one preset at one batch size."""
    import keras

    from keras_split import zoo

    client, _ = zoo.load(
        preset,
        input_shape=(size, size, 3),
        classes=10,
        seed=0,
        quantization=quantization,
    )
    client.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        "sparse_categorical_crossentropy",
    )
    row: dict[str, Any] = {"preset": preset, "batch": batch}
    with tempfile.TemporaryDirectory() as folder:
        path, data = Path(folder, "client.tflite"), Path(folder, "data.npz")
        about = client.export(path, batch_size=batch)
        known = inputs(about)
        np.savez(data, **known)
        row["file_bytes"] = path.stat().st_size
        up, down = client.contract.bytes_per_sample(batch)
        row |= {"up": up, "down": down}
        reference = Reference(client, known)
        phone = Phone(path, data)
        for name in SIGNATURES:
            times: dict[str, list[float]] = {"litert": [], "tf": []}
            for pair in range(pairs + 2):
                order = [("litert", phone), ("tf", reference)]
                for who, runner in order[:: 1 if pair % 2 else -1]:
                    took = runner.seconds(name)
                    if pair >= 2:  # the first ones prepare
                        times[who].append(took)
            litert, tf = (np.array(times[who]) for who in ("litert", "tf"))
            row[name] = {
                "litert_ms": 1000 * float(np.median(litert)),
                "tf_ms": 1000 * float(np.median(tf)),
                "ratio": float(np.median(litert / tf)),
            }
        row["peak_bytes"] = phone.peak_bytes()
    return row


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    found = [row["preset"], str(row["batch"])]
    for name in SIGNATURES:
        one = row[name]
        found.append(f"{one['litert_ms']:.1f} / {one['tf_ms']:.1f}")
        found.append(f"{one['ratio']:.2f}")
    found += [
        f"{row['peak_bytes'] / 1e6:.0f}",
        f"{row['file_bytes'] / 1e3:.0f}",
        f"{row['up'] / 1e3:.1f} / {row['down'] / 1e3:.1f}",
    ]
    return found


def plot(rows: list[dict[str, Any]], size: int) -> Any:
    """Bars of a step's time and of memory by preset and batch size."""
    from matplotlib import pyplot

    presets = list(dict.fromkeys(row["preset"] for row in rows))
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    figure, axes = pyplot.subplots(
        1, len(batches) + 1, figsize=(4 * len(batches) + 4, 3.6)
    )
    places = np.arange(len(presets))
    for axis, batch in zip(axes, batches, strict=False):
        for shift, who, label in (
            (-0.2, "litert_ms", "LiteRT"),
            (0.2, "tf_ms", "TensorFlow"),
        ):
            left = np.zeros(len(presets))
            for name, shade in zip(SIGNATURES, (0.45, 0.7, 1.0), strict=True):
                values = [
                    row[name][who] / batch
                    for row in rows
                    if row["batch"] == batch
                ]
                color = "tab:blue" if who == "litert_ms" else "tab:orange"
                axis.barh(
                    places - shift,
                    values,
                    0.36,
                    left=left,
                    color=color,
                    alpha=shade,
                    label=f"{label} {name}",
                )
                left += values
        axis.set_title(f"ms an image, batch {batch}")
    axis = axes[-1]
    for shift, batch in zip(
        np.linspace(-0.2, 0.2, len(batches)), batches, strict=True
    ):
        values = [
            row["peak_bytes"] / 1e6 for row in rows if row["batch"] == batch
        ]
        axis.barh(places + shift, values, 0.36, label=f"batch {batch}")
    axis.set_title("peak memory of the process, MB")
    axis.legend(fontsize=7)
    for axis in axes:
        axis.set_yticks(places, presets if axis is axes[0] else [])
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(fontsize=6)
    figure.suptitle(f"The phone's part of a step, {size}x{size}, int8")
    figure.tight_layout()
    return figure


def main() -> None:
    """Prints the table."""
    from keras_split import zoo

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="*", default=zoo.names("images"))
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--quantization", default="int8")
    write_option(parser)
    arguments = parser.parse_args()
    report = Report("device", write=arguments.write)
    report.say(
        f"{machine()}, ai-edge-litert {version('ai-edge-litert')}; "
        f"{arguments.size}x{arguments.size} images, {arguments.quantization} "
        f"on the link, SGD with momentum, {THREADS} threads each, "
        f"{arguments.pairs} interleaved pairs; kB up and down are of one "
        "image, the memory is that of the whole process, Python included."
    )
    heads = [(f"{name} ms LiteRT / TF:", "ratio:") for name in SIGNATURES]
    report.header(
        *("preset", "batch:", *(column for pair in heads for column in pair)),
        *("peak MB:", "file kB:", "kB up / down:"),
    )
    rows = []
    for preset in arguments.presets:
        for batch in arguments.batches:
            rows.append(
                measure(
                    preset,
                    size=arguments.size,
                    batch=batch,
                    pairs=arguments.pairs,
                    quantization=arguments.quantization,
                )
            )
            report.row(*cells(rows[-1]))
    report.end()
    if arguments.write:
        report.plot(
            plot(rows, arguments.size),
            "Bars of time an image and of peak memory, by preset and batch "
            "size",
        )
    report.close()


if __name__ == "__main__":
    main()
