"""Split learning for Keras: the phone keeps the data, the labels and the ends.

    import keras_split

    client, server = keras_split.compile(
        model, cut=["block_2_add", "block_15_add"], quantization="int8"
    )
    client.fit(x, y, epochs=3)

Names are loaded when they are used, so that importing the package is quick
and `keras_split.device` runs where TensorFlow cannot be installed.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING
from typing import Any

from keras_split.errors import BackendError
from keras_split.errors import SplitError
from keras_split.utils.extras import install
from keras_split.utils.version import __version__

if TYPE_CHECKING:
    from keras_split.client.retry import Retry as Retry
    from keras_split.client.strategy import SplitStrategy as SplitStrategy
    from keras_split.client.tap import SessionTap as SessionTap
    from keras_split.compiler import compile as compile
    from keras_split.compression.layers import CutQuantizer as CutQuantizer
    from keras_split.compression.rules import Quantization as Quantization
    from keras_split.compression.rules import Rule as Rule
    from keras_split.federation.averaging import (
        FederatedAveraging as FederatedAveraging,
    )
    from keras_split.models import ClientModel as ClientModel
    from keras_split.models import ServerModel as ServerModel
    from keras_split.models.hijack_detector import (
        HijackDetector as HijackDetector,
    )
    from keras_split.models.join import join as join
    from keras_split.models.resume import Resume as Resume
    from keras_split.partition.bottleneck import (
        add_bottlenecks as add_bottlenecks,
    )
    from keras_split.partition.length import fix_length as fix_length
    from keras_split.partition.partition import Partition as Partition
    from keras_split.partition.unfold import unfold as unfold
    from keras_split.planner.plan import plan as plan
    from keras_split.protocol.credentials import Credentials as Credentials
    from keras_split.protocol.data_spec import DataSpec as DataSpec
    from keras_split.server.config import ServerConfig as ServerConfig

_HOMES = {
    "ClientModel": "models",
    "Credentials": "protocol.credentials",
    "CutQuantizer": "compression.layers",
    "DataSpec": "protocol.data_spec",
    "FederatedAveraging": "federation.averaging",
    "HijackDetector": "models.hijack_detector",
    "Partition": "partition",
    "Quantization": "compression.rules",
    "Resume": "models.resume",
    "Retry": "client.retry",
    "Rule": "compression.rules",
    "ServerConfig": "server.config",
    "ServerModel": "models",
    "SessionTap": "client.tap",
    "SplitStrategy": "client.strategy",
    "add_bottlenecks": "partition.bottleneck",
    "compile": "compiler",
    "fix_length": "partition.length",
    "join": "models.join",
    "plan": "planner.plan",
    "unfold": "partition.unfold",
}
_LIGHT = {
    "client.retry",
    "client.tap",
    "compression.rules",
    "planner.plan",
    "protocol.credentials",
    "protocol.data_spec",
    "server.config",
}
# Rooms and modules that programs use by name.
_ROOMS = {
    "audit": "audit",
    "codecs": "compression.codecs",
    "compression_presets": "compression.presets",
    "datasets": "datasets",
    "defenses": "defenses",
    "detection": "detection",
    "device": "device",
    "errors": "errors",
    "evaluation": "evaluation",
    "federation": "federation",
    "formats": "compression.formats",
    "litert": "litert",
    "messages": "protocol.messages",
    "observe": "server.observe",
    "planner": "planner",
    "ray": "ray",
    "server": "server",
    "transports": "transports",
    "zoo": "zoo",
}

__all__ = [
    "BackendError",
    "SplitError",
    "__version__",
    "load_model",
    *sorted(_HOMES),
    *sorted(_ROOMS),
]


def load_model(
    path: str | os.PathLike[str], *, restore_body: bool = False
) -> Any:
    """Loads a half that `client.save` or `server.save` wrote.

    `keras.saving.load_model` does the same once the classes are known to
    Keras, which they are when Keras was imported before keras_split.

    A client's file, such as one of `keras.callbacks.ModelCheckpoint`, holds
    the phone's half. The server trains on meanwhile; with `restore_body` it
    brings its half back to when the file was saved, so that both are the
    model that was evaluated then. Everybody who trains that body goes on from
    there.

    Args:
        path: The `.keras` file.
        restore_body: Whether to have the server bring its half back. The
            client must know its server: it does if it was compiled with a
            `SplitStrategy` that has an address.

    Returns:
        A `ClientModel` or a `ServerModel`.

    Raises:
        DataError: If there is no such file, or Keras cannot load it, say
            because of a class of yours that is not registered yet; or if it
            names no snapshot of the server to bring back.
        TransportError: If the server is not there to bring its half back.
        RefusedError: If it has the snapshot no longer.
    """
    require_keras()
    _tell_keras()
    files = importlib.import_module(f"{__name__}.models.keras_file")
    return files.load(path, restore_body=restore_body)


def _tell_keras() -> None:
    """Makes our classes known to Keras, which loads files with them."""
    for home in ("models", "compression.layers"):
        importlib.import_module(f"{__name__}.{home}")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{_ROOMS[name]}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if home not in _LIGHT:
        require_keras()
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def require_keras() -> None:
    """Checks that Keras is here and runs on TensorFlow.

    Raises:
        BackendError: If not; the message says what to install or to set.
    """
    # Another backend may not even import, so ask before Keras does.
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend == "tensorflow" or "keras" in sys.modules:
        try:
            import keras
            import tensorflow  # noqa: F401
        except ImportError as error:
            raise BackendError(
                "Expected Keras and TensorFlow, to cut and train models. "
                f"Received: {error}. "
                f"Run: {install('tensorflow')}"
            ) from error
        backend = keras.backend.backend()
    if backend != "tensorflow":
        raise BackendError(
            "Expected Keras to run on TensorFlow. Received: the "
            f"{backend!r} backend. Set KERAS_BACKEND=tensorflow before Keras "
            "is imported."
        )


if "keras" in sys.modules and os.environ.get("KERAS_BACKEND") in (
    None,
    "tensorflow",
):
    # Keras is here already, so nothing is lost by telling it our classes,
    # and TensorFlow may not have started, so there is time for more threads.
    try:
        _tell_keras()
    except ImportError:
        pass  # said when it is used
