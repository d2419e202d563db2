"""A phone for benchmarks: runs signatures of a .tflite when it is told to.

    python _phone_process.py client.tflite data.npz THREADS

It never imports TensorFlow or Keras. Each line of its input names a
signature; the answer is how many seconds its call took. An empty line ends
it; its last words are the most memory it had, in bytes.
"""

import sys
import time

import numpy as np


def main(path: str, data: str, threads: str) -> None:
    """Answers until the input ends."""
    from keras_split.device.clock import Clock
    from keras_split.device.description import Description
    from keras_split.device.memory import peak_bytes
    from keras_split.device.model import Model

    model = Model(path, Description.read(path), int(threads), Clock())
    with np.load(data) as arrays:
        known = dict(arrays)
    for line in sys.stdin:
        name = line.strip()
        if not name:
            break
        began = time.perf_counter()
        model.run(name, known)
        print(time.perf_counter() - began, flush=True)
    assert not {"tensorflow", "keras"} & set(sys.modules)
    print(peak_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
