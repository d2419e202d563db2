"""A phone for `device_learning.py`: trains and prints its test accuracy.

    python _phone_learning.py client.tflite grpc://HOST:PORT EPOCHS RATE SEED

TensorFlow and Keras cannot be imported here.
"""

import sys

import numpy as np
from device_learning import orders
from device_learning import rate_at


def main(path: str, address: str, epochs: str, rate: str, seed: str) -> None:
    """Trains as `device_learning.train_keras` does."""
    sys.modules.update(tensorflow=None, keras=None)  # type: ignore[arg-type]
    from keras_split import datasets
    from keras_split.device import Client

    (x, y), (x_test, y_test) = datasets.load("fashion_mnist")
    with Client(path, address) as client:
        size = client.batch_size
        x, x_test = client.preprocess(x), client.preprocess(x_test)
        steps = int(epochs) * -(-len(x) // size)

        def batches(x: np.ndarray, y: np.ndarray) -> list[tuple]:
            starts = range(0, len(x), size)
            return [(x[i : i + size], y[i : i + size]) for i in starts]

        for order in orders(len(x), int(epochs), int(seed)):
            client.fit(
                batches(x[order], y[order]),
                learning_rate=lambda step: rate_at(step, steps, float(rate)),
                verbose=False,
            )
        print(client.evaluate(batches(x_test, y_test))["accuracy"])


if __name__ == "__main__":
    main(*sys.argv[1:])
