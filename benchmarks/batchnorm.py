"""Batch normalization as one operation, in networks that are not split.

    python benchmarks/batchnorm.py [--presets ...] [--pairs 20]

Steps with `keras_split.training.fused_batchnorm` and Keras' own alternate in
one run; the ratio is the median of the ratios of pairs. Then the gradients of
a step by both are held against those in float64: their distance over the
length of the true ones, all weights together.
"""

import argparse
import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _presets import compiled
from _report import Report
from _report import machine
from _report import write_option


class Fused:
    """A compiled model whose steps have the operation or not."""

    def __init__(self, model: Any, wanted: bool) -> None:
        self.model = model
        self._wanted = wanted
        self.seconds: list[float] = []

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        """Takes a step, timed."""
        from keras_split.training.fused_batchnorm import fused

        with fused(self.model, self._wanted):  # the first call traces
            began = time.perf_counter()
            self.model.train_on_batch(x, y)
            self.seconds.append(time.perf_counter() - began)


def gradients(model: Any, x: Any, y: Any, wanted: bool) -> list[np.ndarray]:
    """Of all weights, of a step that changes nothing."""
    import keras
    import tensorflow as tf

    from keras_split.training.fused_batchnorm import fused

    loss = keras.losses.sparse_categorical_crossentropy
    values = [v.value for v in model.trainable_variables]

    @tf.function
    def compute() -> Any:
        with (
            tf.GradientTape() as tape,
            keras.StatelessScope(),
            fused(model, wanted),
        ):
            mean = tf.reduce_mean(loss(y, model(x, training=True)))
        return tape.gradient(mean, values)

    return [np.array(grad, np.float64) for grad in compute()]


def distance(found: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """Of gradients, over the length of the true ones."""
    pairs = list(zip(found, truth, strict=True))
    off = sum(float(np.square(f - t).sum()) for f, t in pairs)
    return float(
        np.sqrt(off / sum(float(np.square(t).sum()) for _, t in pairs))
    )


def measure(
    preset: str, *, size: int, batch: int, pairs: int
) -> tuple[Fused, Fused, float, float]:
    """Times one preset, and compares its gradients."""
    import keras

    from keras_split import zoo

    def build() -> Any:
        return zoo.get(preset).build(
            input_shape=(size, size, 3), classes=10, seed=0
        )

    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (batch, size, size, 3)).astype("float32")
    y = rng.integers(0, 10, batch)
    model = build()
    weights = model.get_weights()
    plain, fast = (gradients(model, x, y, wanted) for wanted in (False, True))
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    precise = build()
    precise.set_weights(weights)
    truth = gradients(precise, x.astype("float64"), y, False)
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")

    one = Fused(compiled(model), True)
    other = Fused(compiled(build()), False)
    for pair in range(pairs + 3):
        for way in (one, other)[:: 1 if pair % 2 else -1]:
            way.step(x, y)
    for way in (one, other):
        del way.seconds[:3]
    return one, other, distance(fast, truth), distance(plain, truth)


def main() -> None:
    """Prints the table."""
    from keras_split import zoo

    parser = argparse.ArgumentParser(description=__doc__)
    having = [
        name for name in zoo.names("images") if name != "vgg19"
    ]  # has none
    parser.add_argument("--presets", nargs="*", default=having)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=20)
    write_option(parser)
    options = parser.parse_args()
    report = Report("batchnorm", write=options.write)
    report.say(
        f"{machine()}; {options.size}x{options.size} images, batch "
        f"{options.batch}, {options.pairs} interleaved pairs."
    )
    report.header(
        *("preset", "fused ms:", "Keras ms:", "ratio:", "quartiles"),
        *("fused, off by:", "Keras, off by:"),
    )
    for preset in options.presets:
        one, other, off, plain_off = measure(
            preset, size=options.size, batch=options.batch, pairs=options.pairs
        )
        ratios = np.array(one.seconds) / np.array(other.seconds)
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        report.row(
            preset,
            f"{1000 * np.median(one.seconds):.0f}",
            f"{1000 * np.median(other.seconds):.0f}",
            f"{middle:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{off:.1%}",
            f"{plain_off:.1%}",
        )
    report.end()
    report.close()


if __name__ == "__main__":
    main()
