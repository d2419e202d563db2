"""Takes a step for each line on standard input, and prints its seconds.

`versions.py` runs it with the Python of any version, so it uses only what
every version has. The first line that it prints is where keras_split lies.
"""

import argparse
import contextlib
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _server_process import serving

import keras_split
from keras_split import zoo


def main() -> None:
    """Trains a preset, a step at a time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", required=True)
    parser.add_argument("--quantization", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--way", choices=["grpc", "in-process"], required=True)
    options = parser.parse_args()
    shape = (options.size, options.size, 3)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((options.batch, *shape), np.float32)
    y = rng.integers(0, 10, options.batch)
    with contextlib.ExitStack() as stack:
        address = None
        if options.way == "grpc":
            target = stack.enter_context(
                serving(
                    options.preset,
                    *("--input-size", str(options.size)),
                    *("--quantization", options.quantization),
                )
            )
            address = f"grpc://{target}"
        client, _ = zoo.load(
            options.preset,
            input_shape=shape,
            classes=10,
            seed=0,
            quantization=options.quantization,
        )
        client.compile(
            keras.optimizers.SGD(0.001, momentum=0.9),
            "sparse_categorical_crossentropy",
            strategy=keras_split.SplitStrategy(address),
        )
        print(os.path.dirname(keras_split.__file__), flush=True)
        for _ in sys.stdin:
            began = time.perf_counter()
            client.train_on_batch(x, y)
            print(time.perf_counter() - began, flush=True)
        client.close()


if __name__ == "__main__":
    main()
