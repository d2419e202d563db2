"""For how much there is room in a cluster."""

import time
from typing import Any

from keras_split.errors import TransportError

_PATIENCE_S = 15.0  # what has just ended is free a moment later
_EVERY_S = 0.2


def find_room(ray: Any, count: int, least: int, cpus: int, gpus: float) -> int:
    """For how many processes there is room.

    Args:
        ray: The module, initialized.
        count: How many there should be.
        least: And at least.
        cpus: Of each.
        gpus: Of each.

    Returns:
        `count`, or what the cluster has.

    Raises:
        TransportError: If there is room for fewer than `least`, after some
            seconds as well.
    """
    whole = _room(ray.cluster_resources(), cpus, gpus)
    count = max(least, min(count, whole))
    end = time.monotonic() + (_PATIENCE_S if whole >= least else 0.0)
    while (room := _room(ray.available_resources(), cpus, gpus)) < count:
        if time.monotonic() > end:
            break
        time.sleep(_EVERY_S)
    if room >= least:
        return min(room, count)
    free = ray.available_resources()
    raise TransportError(
        f"Expected room for {least} times {cpus} CPUs and {gpus:g} GPUs in "
        f"the cluster. Received: {free.get('CPU', 0):g} CPUs and "
        f"{free.get('GPU', 0):g} GPUs that are free. Ask for less, or wait "
        "for what runs there."
    )


def _room(resources: dict[str, float], cpus: int, gpus: float) -> int:
    count = resources.get("CPU", 0) // cpus
    if gpus:
        count = min(count, resources.get("GPU", 0) // gpus)
    return int(count)
