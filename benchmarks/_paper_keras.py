"""A whole network that Keras trains, for the memory that it takes.

    python _paper_keras.py NETWORK SIZE BATCH

Says, as JSON, the most memory that the process had, and what it had when
TensorFlow and Keras had been loaded and nothing else.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(network: str, size: str, batch: str) -> None:
    """Prints one line."""
    import keras
    import numpy as np
    import tensorflow as tf
    from _paper_networks import build
    from _paper_networks import optimizer

    from keras_split.device.memory import peak_bytes

    tf.constant(0.0)
    bare = peak_bytes()
    model = build(network, int(size))
    model.compile(optimizer(), keras.losses.SparseCategoricalCrossentropy())
    x = np.random.default_rng(0).random(
        (int(batch), int(size), int(size), 3), np.float32
    )
    y = np.zeros(int(batch), np.int32)
    losses = [float(model.train_on_batch(x, y)) for _ in range(2)]
    said = {"losses": losses, "bare_bytes": bare, "peak_bytes": peak_bytes()}
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
