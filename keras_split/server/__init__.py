"""The server: one body and all the sessions that train it.

What programs use of it; loaded when it is used, so that a name costs no more
than its own module.
"""

import importlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from keras_split.server.call import Call as Call
    from keras_split.server.callbacks import Caller as Caller
    from keras_split.server.callbacks import ServerCallback as ServerCallback
    from keras_split.server.cohorts.config import CohortConfig as CohortConfig
    from keras_split.server.config import ServerConfig as ServerConfig
    from keras_split.server.endpoint import Endpoint as Endpoint
    from keras_split.server.grpc.server import Server as Server
    from keras_split.server.limits import StreamLimits as StreamLimits
    from keras_split.server.security import Security as Security
    from keras_split.server.service import TrainingService as TrainingService
    from keras_split.server.tokens import Tokens as Tokens
    from keras_split.server.tokens import bearer as bearer

_HOMES = {
    "Call": "call",
    "Caller": "callbacks",
    "CohortConfig": "cohorts.config",
    "Endpoint": "endpoint",
    "Security": "security",
    "Server": "grpc.server",
    "ServerCallback": "callbacks",
    "ServerConfig": "config",
    "StreamLimits": "limits",
    "Tokens": "tokens",
    "TrainingService": "service",
    "bearer": "tokens",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
