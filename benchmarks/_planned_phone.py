"""A phone that takes steps with a server when it is told to, for planned.py.

    python _planned_phone.py client.tflite data.npz HOST:PORT THREADS

It never imports TensorFlow or Keras. Each line of its input is a number of
steps; the answer, in JSON, has how long each took, seconds of the phone's own
passes in all of them, and the most memory that the process had so far.
"""

import json
import sys
import time

import numpy as np


def main(path: str, data: str, target: str, threads: str) -> None:
    """Answers until the input ends."""
    from keras_split.device import Client
    from keras_split.device.memory import peak_bytes

    with np.load(data) as arrays:
        x, y = arrays["x"], arrays["y"]
    address = f"grpc://{target}"
    with Client(path, address, num_threads=int(threads)) as client:
        # What stands for a network is on this machine, but does not behave so.
        client.session.overlap = True
        for line in sys.stdin:
            before, seconds = _own(client), []
            for _ in range(int(line)):
                began = time.perf_counter()
                logs = client.train_on_batch(x, y)
                seconds.append(time.perf_counter() - began)
                assert np.isfinite(logs["loss"])
            told = {
                "seconds": seconds,
                "own": _own(client) - before,
                "peak_bytes": peak_bytes(),
            }
            print(json.dumps(told), flush=True)
    assert not {"tensorflow", "keras"} & set(sys.modules)


def _own(client: object) -> float:
    laps = client.laps  # type: ignore[attr-defined]
    return sum(lap.seconds for name, lap in laps.items() if name != "server")


if __name__ == "__main__":
    main(*sys.argv[1:])
