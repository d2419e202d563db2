"""Accuracy beside bytes, for every coding: all of Fashion-MNIST.

    python benchmarks/codings.py --seeds 5 --epochs 3

A network as wide where it is cut as real ones are, with BatchNorm, cut in a U
behind its first and its last convolution. Runs are paired: for each seed every
coding starts from the same weights and sees the same batches. Bytes are those
of the socket. `--network small` takes that of quantization.py, whose cut
layers are narrow.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import quantization
from _fashion import Setting
from _fashion import compare
from _fashion import load_data
from _report import Report
from _report import write_option


def network() -> keras.Model:
    """64 channels at the first cut, 128 at the second; 120,000 parameters."""
    layers = keras.layers

    def convolve(x: object, width: int, strides: int = 1) -> object:
        x = layers.Conv2D(width, 3, strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    x = inputs = keras.Input((28, 28, 1))
    x = layers.ReLU(name="first")(convolve(x, 64, 2))
    x = layers.ReLU()(convolve(x, 32))
    x = layers.MaxPooling2D()(x)
    x = layers.ReLU(name="last")(convolve(x, 128))
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


NETWORKS = {
    "wide": (network, ["first", "last"]),
    "small": (quantization.network, quantization.CUT),
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="wide")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--subset", action="store_true", help="6,000 images.")
    parser.add_argument(
        "--rules",
        nargs="*",
        default=["float32", "int8", "int2+zstd", "balanced"]
        + ["int4/int2:8+zstd", "small", "tiny"],
    )
    write_option(parser)
    options = parser.parse_args()
    setting = Setting(*NETWORKS[options.network], options.batch, options.epochs)
    data = load_data(full=not options.subset)
    report = Report("codings", write=options.write)
    compare(setting, data, options.rules, options.seeds, report)
    report.close()


if __name__ == "__main__":
    main()
