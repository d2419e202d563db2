"""Lossless codecs: what packs the codes of a tensor for the wire.

Quantization loses precision, once and on purpose; a codec loses nothing. The
two parties agree on one by name, so a codec of another package is registered
on both sides:

    keras_split.codecs.register(MyCodec())
    keras_split.compile(model, cut, codec="mine")
"""

from keras_split.compression.codecs.codec import Buffer
from keras_split.compression.codecs.codec import Codec
from keras_split.compression.codecs.codec import WrongSizeError
from keras_split.compression.codecs.raw import Raw
from keras_split.compression.codecs.zstd import Zstd
from keras_split.errors import CodecError
from keras_split.utils.registry import Registry

__all__ = [
    "Buffer",
    "Codec",
    "Raw",
    "WrongSizeError",
    "Zstd",
    "get",
    "names",
    "register",
]

_REGISTRY: Registry[Codec] = Registry("codec", CodecError)
for _codec in (Raw(), Zstd()):
    _REGISTRY.register(_codec.name, _codec)


def register(codec: Codec) -> None:
    """Makes a codec known by its name, in this process.

    Both sides must do so before they name it: a package that brings a codec
    does it when it is imported.

    Raises:
        CodecError: If it is none, or another has its name.
    """
    if not isinstance(codec, Codec):
        raise CodecError(
            f"Expected a Codec to register. Received: {codec!r}. Pass an "
            "object of a subclass of keras_split.codecs.Codec."
        )
    _REGISTRY.register(getattr(codec, "name", ""), codec)


def names() -> tuple[str, ...]:
    """The names of all codecs.

    Example:
    >>> names()[:2]
    ('raw', 'zstd')
    """
    return _REGISTRY.names()


def get(identifier: str | Codec) -> Codec:
    """Returns the codec of that name, or the codec itself.

    Raises:
        CodecError: If there is no codec of that name.

    Example:
    >>> get("raw").name
    'raw'
    """
    if isinstance(identifier, Codec):
        _REGISTRY.check_name(getattr(identifier, "name", None))
        return identifier
    codec = None
    if isinstance(identifier, str):
        codec = _REGISTRY.items.get(identifier)
    if codec is None:
        raise CodecError(
            f"Expected a codec: {', '.join(names())}, or a Codec. Received: "
            f"{identifier!r}. Choose one of those, or import the package that "
            "registers it with keras_split.codecs.register, on both sides."
        )
    return codec


def adopt(identifier: str | Codec) -> str | Codec:
    """A codec as a contract keeps it: by name, where its name leads to it.

    A codec whose name is free is registered by that. One of a registered
    class with other settings, such as `Zstd(level=9)`, stays itself: what it
    encodes, the registered one decodes.

    Raises:
        CodecError: If there is no such codec, or a codec of another class
            has its name.
    """
    codec = get(identifier)
    known = _REGISTRY.items.get(codec.name)
    if type(known) is not type(codec):
        register(codec)
        known = codec
    return codec.name if known is codec else codec
