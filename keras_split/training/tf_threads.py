"""Threads for clients, whose steps wait in the middle of a graph.

A step that waits for its server holds one thread of TensorFlow's inter-op
pool, in a host callback. One thread always stays free, for whatever else is
computed in this process, such as the server's half.
"""

import functools
import os
import threading

import tensorflow as tf

from keras_split.errors import TransportError


def reserve() -> None:
    """Asks for a second inter-op thread on a machine with one core.

    Does nothing where TensorFlow already runs or the user chose a size. More
    than one a core make a step slower.
    """
    if _pool() < 2 and not _chosen():
        try:
            tf.config.threading.set_inter_op_parallelism_threads(2)
        except RuntimeError:
            pass  # TensorFlow has started: its pool has one thread a core


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
            "threading.set_inter_op_parallelism_threads(2) first, or serve in "
            "a process of its own: strategy=keras_split.SplitStrategy("
            "'grpc://host:port')."
        )


@functools.cache
def places() -> threading.Semaphore:
    """To hold during a step of a client, in which one thing at a time waits."""
    return threading.Semaphore(max(_pool() - 1, 1))


def _pool() -> int:
    return _chosen() or cores()


def _chosen() -> int:
    """What the user chose; 0 for nothing."""
    chosen = int(tf.config.threading.get_inter_op_parallelism_threads())
    return chosen or int(os.environ.get("TF_NUM_INTEROP_THREADS") or 0)


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
