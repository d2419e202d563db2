"""What a lossless codec is: bytes to fewer bytes, and back."""

from abc import ABC
from abc import abstractmethod
from typing import ClassVar
from typing import TypeAlias

from keras_split.errors import CodecError

Buffer: TypeAlias = bytes | bytearray | memoryview


class WrongSizeError(CodecError):
    """The data can be decoded, and holds more or fewer bytes than it should."""


class Codec(ABC):
    """Packs the codes of a tensor for the wire.

    A codec has no state of its own and may be used by many threads at once.
    What it promises is `decode(encode(data), len(data)) == data`.

    Attributes:
        name: What `keras_split.compression.codecs.get` and the wire call it.
    """

    name: ClassVar[str]

    @abstractmethod
    def encode(self, data: Buffer) -> Buffer:
        """Packs `data`, any contiguous buffer of any item size."""

    @abstractmethod
    def decode(self, data: Buffer, nbytes: int) -> Buffer:
        """Unpacks what `encode` made of exactly `nbytes` bytes.

        The data comes from the other party, so a codec checks its size before
        it allocates anything, and allocates no more than `nbytes` for it.

        Args:
            data: The packed bytes.
            nbytes: Size of the result, known from the tensor's shape.

        Raises:
            CodecError: If the data is damaged or has another size.
        """

    def _check_size(self, size: int, nbytes: int) -> None:
        if size != nbytes:
            raise self._wrong_size(size, nbytes)

    def _wrong_size(self, size: int, nbytes: int) -> WrongSizeError:
        return WrongSizeError(
            f"Expected {self.name} data that holds {nbytes} bytes. "
            f"Received: {size} bytes. Both parties must use the same "
            "codec, quantization and tensor shapes."
        )
