"""What carries a message to the server and brings its reply."""

from keras_split.transports.address import Address
from keras_split.transports.route import Factory
from keras_split.transports.route import Route
from keras_split.transports.route import get
from keras_split.transports.route import names
from keras_split.transports.route import register
from keras_split.transports.transport import LocalTransport
from keras_split.transports.transport import Transport

__all__ = [
    "Address",
    "Factory",
    "LocalTransport",
    "Route",
    "Transport",
    "get",
    "names",
    "register",
]
