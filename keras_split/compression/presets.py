"""Everything that makes cut-layer tensors smaller, under one name.

Three things do, one after the other: a bottleneck in the model
(`partition.bottleneck`), a quantization (`rules`) and a lossless codec
(`codecs`). Like rules, presets are known where there is no TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_split.compression import codecs
from keras_split.compression import formats
from keras_split.compression import rules as quantizations
from keras_split.compression.codecs import Codec
from keras_split.compression.rules import Quantization
from keras_split.errors import QuantizationError
from keras_split.utils.registry import Registry

__all__ = ["PRESETS", "CompressionPreset", "get", "names", "register"]


@dataclass(frozen=True)
class CompressionPreset:
    """How cut-layer tensors are made smaller.

    Attributes:
        quantization: How they are rounded.
        codec: How their bytes are packed without loss: a name or a `Codec`.
        bottleneck: How many times fewer channels cross than the cut layers
            have; 1 for no bottleneck.
    """

    quantization: Quantization
    codec: str | Codec = "raw"
    bottleneck: int = 1

    def __post_init__(self) -> None:
        whole = isinstance(self.bottleneck, int)
        if not whole or self.bottleneck < 1:
            raise QuantizationError(
                "Expected a bottleneck of 1 (none) or a whole number of times "
                f"fewer channels. Received: {self.bottleneck!r}. Try 4."
            )

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What crosses of an example of `shape`.

        Example:
        >>> get("small").shape((24, 24, 32))
        (24, 24, 8)
        """
        return (*shape[:-1], width(shape[-1], self.bottleneck))


# One may be given where the other is, so no name may mean two things.
_REGISTRY: Registry[CompressionPreset] = Registry(
    "compression preset", QuantizationError, beside=formats.REGISTRY
)
PRESETS: Mapping[str, CompressionPreset] = _REGISTRY.items


def register(name: str, preset: CompressionPreset) -> None:
    """Makes `quantization=name` stand for a preset, in this process.

    Halves remember what the preset stands for and not its name, so the other
    side need not know it.

    Raises:
        QuantizationError: If it is no preset, or the name is taken.
        CodecError: If there is no such codec.
    """
    if not isinstance(preset, CompressionPreset):
        raise QuantizationError(
            f"Expected a CompressionPreset to register as {name!r}. Received: "
            f"{preset!r}. Pass CompressionPreset(quantization, codec, "
            "bottleneck)."
        )
    codecs.get(preset.codec)
    _REGISTRY.register(name, preset)


def names() -> tuple[str, ...]:
    """What `quantization=` may be: formats first, then presets.

    Example:
    >>> "int8" in names(), "small" in names()
    (True, True)
    """
    return (*formats.names(), *PRESETS)


def get(
    quantization: str | Quantization | dict[str, Any],
    codec: str | Codec | None = None,
    bottleneck: int | None = None,
) -> CompressionPreset:
    """A preset from its name or a quantization, and what overrides it.

    Args:
        quantization: A name in `names()`, a `Quantization` or its config.
        codec: Instead of the preset's, or of `"raw"`.
        bottleneck: Instead of the preset's, or of 1.

    Raises:
        QuantizationError: If there is no such quantization or bottleneck.
    """
    if isinstance(quantization, str) and quantization in PRESETS:
        preset = PRESETS[quantization]
    elif isinstance(quantization, str) and quantization not in formats.names():
        raise QuantizationError(
            f"Expected a quantization: {', '.join(names())}, or a "
            f"Quantization. Received: {quantization!r}. Choose one of those, "
            "or import the package that registers it."
        )
    else:
        preset = CompressionPreset(quantizations.get(quantization))
    return CompressionPreset(
        preset.quantization,
        codec or preset.codec,
        preset.bottleneck if bottleneck is None else bottleneck,
    )


def width(channels: int, ratio: int) -> int:
    """Channels of a bottleneck: so many times fewer, but at least one."""
    return max(channels // ratio, 1)


# docs/quantization.md has what they cost and save.
register("balanced", CompressionPreset(Quantization("int4"), "zstd"))
register("small", CompressionPreset(Quantization("int4"), "zstd", 4))
register("tiny", CompressionPreset(Quantization("int4"), "zstd", 16))
