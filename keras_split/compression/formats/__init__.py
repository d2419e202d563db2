"""Formats: what a number of a cut-layer tensor is in a message.

One object for each dtype of a `Rule`. All that depends on the dtype asks it,
so a format of another package needs one call, on both sides:

    keras_split.formats.register(MyFormat())
    keras_split.compile(model, cut, quantization="my_format")
"""

from numbers import Integral
from typing import Any

from keras_split.compression.formats.float8 import Float8E4M3
from keras_split.compression.formats.floats import BFloat16
from keras_split.compression.formats.floats import Float16
from keras_split.compression.formats.floats import Float32
from keras_split.compression.formats.format import CODE_DTYPES
from keras_split.compression.formats.format import FloatFormat
from keras_split.compression.formats.format import Format
from keras_split.compression.formats.format import ScaledFormat
from keras_split.compression.formats.format import floats_are_finite
from keras_split.compression.formats.integers import Integer
from keras_split.errors import QuantizationError
from keras_split.utils.registry import Registry

__all__ = [
    "CODE_DTYPES",
    "BFloat16",
    "Float16",
    "Float32",
    "Float8E4M3",
    "FloatFormat",
    "Format",
    "Integer",
    "ScaledFormat",
    "floats_are_finite",
    "get",
    "names",
    "register",
]

REGISTRY: Registry[Format] = Registry("format", QuantizationError)
for _format in (
    Float32(),
    Float16(),
    BFloat16(),
    Float8E4M3(),
    *map(Integer, (8, 4, 2)),
):
    REGISTRY.register(_format.name, _format)


def register(format: Format) -> None:
    """Makes a format known by its name, in this process.

    Both sides must do so before they name it: a package that brings a format
    does it when it is imported.

    Raises:
        QuantizationError: If it is none, or another has its name.
    """
    if not isinstance(format, Format):
        raise QuantizationError(
            "Expected a Format to register. Received: "
            f"{format!r}. Pass an object of a subclass of FloatFormat or "
            "ScaledFormat."
        )
    name: Any = getattr(format, "name", None)
    bits: Any = getattr(format, "bits", None)
    code_dtype = getattr(format, "code_dtype", None)
    whole = isinstance(bits, Integral) and not isinstance(bits, bool)
    if not whole or not 1 <= bits <= 64 or code_dtype not in CODE_DTYPES:
        raise QuantizationError(
            "Expected a format of 1 to 64 bits whose codes are "
            f"{', '.join(CODE_DTYPES)}. Received: bits={bits!r}, "
            f"code_dtype={code_dtype!r}. Give the class such attributes."
        )
    REGISTRY.register(name, format)


def names() -> tuple[str, ...]:
    """The names of all formats: what `Rule.dtype` may be.

    Example:
    >>> names()[:3]
    ('float32', 'float16', 'bfloat16')
    """
    return REGISTRY.names()


def get(name: str) -> Format:
    """The format of that name.

    Raises:
        QuantizationError: If there is none.

    Example:
    >>> get("int4").bits
    4
    """
    format = REGISTRY.items.get(name) if isinstance(name, str) else None
    if format is None:
        raise QuantizationError(
            f"Expected a dtype: {', '.join(names())}. Received: {name!r}. "
            "Choose one of those, or import the package that registers it "
            "with keras_split.formats.register, on both sides."
        )
    return format
