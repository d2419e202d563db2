"""Threads for steps that wait in the middle of a graph.

A waiting step holds one thread of TensorFlow's inter-op pool, whose size can
only be chosen before TensorFlow starts to compute. So the pool is made larger
when keras_split is imported in time, and the number of waiting steps always
stays below its size. Steps of servers and of clients in this process wait
alike: a server's step without a place is computed anew, a client's step waits
before its graph starts.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator

import tensorflow as tf

from keras_split.errors import TransportError

_SPARE = 8


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
    """How many steps of servers in this process may wait at once.

    Two threads stay free; the others are for clients in this process.
    """
    return max((_pool() - 2) // 2, 0)


@contextlib.contextmanager
def client_step() -> Iterator[None]:
    """Surrounds a step of a client, in which one thing at a time waits."""
    with _client_places():
        yield


def check_room() -> None:
    """Checks that a client and its server can run in one process.

    Raises:
        TransportError: If the pool has one thread, in which the client would
            wait for ever.
    """
    if _pool() < 2:
        raise TransportError(
            "Expected 2 or more inter-op threads of TensorFlow, for a client "
            "and its server in one process. Received: 1. Call tf.config."
            "threading.set_inter_op_parallelism_threads(8) first, or serve in "
            "a process of its own: strategy=keras_split.SplitStrategy("
            "'grpc://host:port')."
        )


@functools.cache
def _client_places() -> threading.Semaphore:
    return threading.Semaphore(max(_pool() - 2 - parking_places(), 1))


def _pool() -> int:
    return tf.config.threading.get_inter_op_parallelism_threads() or _cores()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
