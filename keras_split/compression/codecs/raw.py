"""Bytes as they are."""

from keras_split.compression.codecs.codec import Buffer
from keras_split.compression.codecs.codec import Codec


class Raw(Codec):
    """Passes buffers on without a copy.

    Example:
    >>> Raw().decode(Raw().encode(b"codes"), 5)
    b'codes'
    """

    name = "raw"

    def encode(self, data: Buffer) -> Buffer:
        """Returns `data` itself."""
        return data

    def decode(self, data: Buffer, nbytes: int) -> Buffer:
        """Returns `data` itself, if it has the right size."""
        size = memoryview(data).nbytes
        if size != nbytes:
            raise self._wrong_size(size, nbytes)
        return data
