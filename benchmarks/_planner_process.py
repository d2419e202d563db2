"""A phone that runs the passes of a .tflite for a while, for planner.py.

    python _planner_process.py client.tflite SECONDS THREADS CLOCK

It never imports TensorFlow or Keras. It says, as JSON, how long each pass
took and the most memory that it had, in bytes.
"""

import json
import sys


def main(path: str, seconds: str, threads: str, clock: str) -> None:
    """Prints one line."""
    from keras_split.device.memory import peak_bytes
    from keras_split.planner import runs

    made = runs.run(
        path, seconds=float(seconds), threads=int(threads), clock=clock
    )
    assert not {"tensorflow", "keras"} & set(sys.modules)
    print(json.dumps({"seconds": made.seconds, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
