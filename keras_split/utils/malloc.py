"""Keeps memory that a process has freed, instead of handing it back.

glibc returns large blocks to the system at once, and every message then pays
for page faults: an echo of 600 kB over gRPC took 5.3 ms, and 2.7 ms with what
is set here; a body with dense layers of 50 MB takes a third to two thirds of
the time (benchmarks/large_layers.py). The price is resident memory, so only
processes that are ours, such as `keras-split serve`, do it.
"""

import ctypes

_TRIM_THRESHOLD = -1
_TOP_PAD = -2
_MMAP_THRESHOLD = -3


def keep() -> bool:
    """Tells glibc to keep up to 1 GiB; False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = (
        (_TRIM_THRESHOLD, (1 << 30,)),
        # Older versions of glibc take no more than 32 MiB.
        (_MMAP_THRESHOLD, (1 << 30, 32 << 20)),
        (_TOP_PAD, (64 << 20,)),
    )
    return all(
        [
            any(mallopt(name, value) == 1 for value in values)
            for name, values in settings
        ]
    )
