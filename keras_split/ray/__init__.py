"""More than one process, and more than one machine, by Ray.

Ray is an extra, `[ray]`, and is loaded when something is started. Names are
loaded when they are used: processes of Ray have settings to take first.
"""

import importlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from keras_split.ray.data_parallel_serving import (
        DataParallelServer as DataParallelServer,
    )
    from keras_split.ray.engine import RayEngine as RayEngine
    from keras_split.ray.serving import ReplicatedServer as ReplicatedServer
    from keras_split.ray.serving import serve as serve

_HOMES = {
    "DataParallelServer": "data_parallel_serving",
    "RayEngine": "engine",
    "ReplicatedServer": "serving",
    "serve": "serving",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
