"""Everything that makes cut-layer tensors smaller, under one name.

Three things do, one after the other: a bottleneck in the model
(`partition.bottleneck`), a quantization (`rules`) and a lossless codec
(`codecs`). Like rules, codings are known where there is no TensorFlow.
"""

from dataclasses import dataclass
from typing import Any

from keras_split.compression import rules as quantizations
from keras_split.compression.codecs import Codec
from keras_split.compression.rules import BITS
from keras_split.compression.rules import Quantization
from keras_split.errors import QuantizationError


@dataclass(frozen=True)
class CompressionPreset:
    """How cut-layer tensors are made smaller.

    Attributes:
        quantization: How they are rounded.
        codec: How their bytes are packed without loss.
        bottleneck: How many times fewer channels cross than the cut layers
            have; 1 for no bottleneck.
    """

    quantization: Quantization
    codec: str | Codec = "raw"
    bottleneck: int = 1

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What crosses of an example of `shape`.

        Example:
        >>> PRESETS["small"].shape((24, 24, 32))
        (24, 24, 8)
        """
        return (*shape[:-1], width(shape[-1], self.bottleneck))


# docs/quantization.md has what they cost and save.
PRESETS = {
    "balanced": CompressionPreset(Quantization("int4"), "zstd"),
    "small": CompressionPreset(Quantization("int4"), "zstd", 4),
    "tiny": CompressionPreset(Quantization("int4"), "zstd", 16),
}
NAMES = (*BITS, *PRESETS)


def get(
    quantization: str | Quantization | dict[str, Any],
    codec: str | Codec | None = None,
    bottleneck: int | None = None,
) -> CompressionPreset:
    """A coding from a preset's name or a quantization, and what overrides it.

    Args:
        quantization: A name in `NAMES`, a `Quantization` or its config.
        codec: Instead of the preset's, or of `"raw"`.
        bottleneck: Instead of the preset's, or of 1.

    Raises:
        QuantizationError: If there is no such quantization or bottleneck.
    """
    if bottleneck is not None and bottleneck < 1:
        raise QuantizationError(
            "Expected a bottleneck of 1 (none) or more, so many times fewer "
            f"channels. Received: {bottleneck}. Try 4."
        )
    if isinstance(quantization, str) and quantization in PRESETS:
        preset = PRESETS[quantization]
    elif isinstance(quantization, str) and quantization not in BITS:
        raise QuantizationError(
            f"Expected a quantization: {', '.join(NAMES)}, or a Quantization. "
            f"Received: {quantization!r}. Choose one of those."
        )
    else:
        preset = CompressionPreset(quantizations.get(quantization))
    return CompressionPreset(
        preset.quantization,
        codec or preset.codec,
        bottleneck or preset.bottleneck,
    )


def width(channels: int, ratio: int) -> int:
    """Channels of a bottleneck: so many times fewer, but at least one."""
    return max(channels // ratio, 1)
