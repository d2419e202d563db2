"""What a process of Ray has to know before it loads TensorFlow."""

import os

# What TensorFlow and Keras read when they are loaded, so that a process
# computes as this one does.
_KEPT = ("TF_", "KERAS_", "XLA_")


def settings(cpus: int, gpus: float, threads: int = 0) -> dict[str, str]:
    """Environment variables for a process with so much of a machine.

    Args:
        cpus: What it is to use.
        gpus: Likewise.
        threads: In which TensorFlow computes one operation; 0 for `cpus`.
    """
    known = {k: v for k, v in os.environ.items() if k.startswith(_KEPT)}
    known["TF_NUM_INTRAOP_THREADS"] = str(threads or cpus)
    # Two at least, for a client and a server in one process.
    known["TF_NUM_INTEROP_THREADS"] = str(max(cpus, 2))
    if not gpus:
        # Ray leaves it to its version what one without sees: nothing.
        known["CUDA_VISIBLE_DEVICES"] = "-1"
    return known
