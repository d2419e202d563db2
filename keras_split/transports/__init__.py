"""What carries a message to the server and brings its reply."""

from keras_split.transports.transport import Transport

__all__ = ["Transport"]
