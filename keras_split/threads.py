"""Threads for steps that wait in the middle of a graph.

A waiting step holds one thread of TensorFlow's inter-op pool, whose size can
only be chosen before TensorFlow starts to compute. So the pool is made larger
when keras_split is imported in time, and the number of waiting steps always
stays below its size; a step without a place is computed anew.
"""

import os
import threading
from collections.abc import Callable

import tensorflow as tf

_SPARE = 4


def reserve(places: int = _SPARE) -> None:
    """Asks for `places` inter-op threads more than the machine has cores.

    Does nothing where TensorFlow already runs or the user chose a size.
    """
    if tf.config.threading.get_inter_op_parallelism_threads() == 0:
        try:
            tf.config.threading.set_inter_op_parallelism_threads(
                _cores() + places
            )
        except RuntimeError:
            pass  # TensorFlow has started: its pool has one thread a core


def parking_places() -> int:
    """How many steps may wait at once.

    Two threads stay free: one for the client's graph when it runs in this
    process, one for everything else.
    """
    pool = tf.config.threading.get_inter_op_parallelism_threads()
    return max((pool or _cores()) - 2, 0)


def start(target: Callable[[], None]) -> None:
    """Runs `target` in a thread that does not keep the process alive."""
    threading.Thread(target=target, daemon=True).start()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
