"""Lossless codecs: what packs the codes of a tensor for the wire.

Quantization loses precision, once and on purpose; a codec loses nothing. The
two parties agree on one by name.
"""

from keras_split.compression.codecs.codec import Buffer
from keras_split.compression.codecs.codec import Codec
from keras_split.compression.codecs.raw import Raw
from keras_split.compression.codecs.zstd import Zstd
from keras_split.errors import CodecError

__all__ = ["NAMES", "Buffer", "Codec", "Raw", "Zstd", "get"]

_CODECS: dict[str, Codec] = {codec.name: codec for codec in (Raw(), Zstd())}

NAMES = tuple(_CODECS)


def get(identifier: str | Codec) -> Codec:
    """Returns the codec of that name, or the codec itself.

    Raises:
        CodecError: If there is no codec of that name.

    Example:
    >>> get("raw").name
    'raw'
    """
    if isinstance(identifier, Codec):
        return identifier
    if isinstance(identifier, str) and identifier in _CODECS:
        return _CODECS[identifier]
    raise CodecError(
        f"Expected a codec: {', '.join(NAMES)}, or a Codec. Received: "
        f"{identifier!r}. Choose one of those."
    )
