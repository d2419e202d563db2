"""What carries a message to the server and brings its reply."""

import importlib
from typing import TYPE_CHECKING
from typing import Any

from keras_split.transports.address import Address
from keras_split.transports.route import Factory
from keras_split.transports.route import Route
from keras_split.transports.route import get
from keras_split.transports.route import names
from keras_split.transports.route import register
from keras_split.transports.transport import LocalTransport
from keras_split.transports.transport import Transport

if TYPE_CHECKING:
    from keras_split.protocol.wire.unary import decode as decode
    from keras_split.protocol.wire.unary import encode as encode

__all__ = [
    "Address",
    "Factory",
    "LocalTransport",
    "Route",
    "Transport",
    "decode",
    "encode",
    "get",
    "names",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in ("decode", "encode"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Protobuf is loaded by those alone who use it.
    unary = importlib.import_module("keras_split.protocol.wire.unary")
    return getattr(unary, name)
