"""A phone as a program of its own: `client.tflite address data.npz out.npz`.

It runs where neither TensorFlow nor Keras is installed, takes one step on
each batch of `data.npz` and writes its losses and its state.
"""

import importlib.util
import sys

import numpy as np

from keras_split.device import Client


def main(path, address, data, result):
    for name in ("tensorflow", "keras"):
        assert importlib.util.find_spec(name) is None, f"{name} is here"
    with np.load(data) as arrays, Client(path, address) as client:
        losses = [
            client.train_on_batch(x, y)["loss"]
            for x, y in zip(arrays["x"], arrays["y"], strict=True)
        ]
        np.savez(result, losses=losses, **client.get_state())


if __name__ == "__main__":
    main(*sys.argv[1:])
