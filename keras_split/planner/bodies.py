"""The networks that a server is measured with.

Each is a body and no more: pieces in the manner of well known networks, as
they stand behind the first layers, where images are small and channels many.
No preset is among them.
"""

from dataclasses import dataclass
from typing import Any

from keras_split.planner.probes import layer

SMASHED, FEATURES = "smashed", "features"


@dataclass(frozen=True)
class BodyProbe:
    """A body as words.

    Attributes:
        shape: Of one example's smashed data.
        layers: As `probes.layer` reads them.
    """

    shape: tuple[int, int, int]
    layers: tuple[str, ...]


def _inverted(width: int, stride: int = 1) -> list[str]:
    wide = 6 * width
    words = [f"bare {wide} 1 1 same", "bn", "relu6"]
    words += [f"depthwise 3 {stride} same", "bn", "relu6"]
    return [*words, f"bare {width} 1 1 same", "bn"]


def _unit(width: int, size: int, stride: int = 1) -> list[str]:
    return [f"bare {width} {size} {stride} same", "bn", "relu"]


def bodies() -> list[BodyProbe]:
    """The same for everybody."""
    made = (
        ((24, 24, 64), ["bottleneck 192", "bottleneck 192"]),
        ((24, 24, 24), _inverted(24) + _inverted(40, 2) + _inverted(40)),
        ((3, 3, 768), ["bottleneck 1536", "bottleneck 1536"]),
        ((20, 20, 48), ["grow 96 32"] * 5),
        ((10, 10, 192), ["branches 48", *_unit(160, 1), *_unit(160, 3, 2)]),
        ((16, 16, 96), ["conv 192 3 1 same", "relu"] * 2),
        ((2, 2, 384), ["flatten", "dense 3072", "dense 2048"]),
        ((6, 6, 80), _inverted(80) + _inverted(128, 2) + _inverted(128)),
        ((5, 5, 384), ["grow 128 32"] * 8),
        ((5, 5, 640), ["branches 160", "branches 160"]),
        ((4, 4, 384), ["conv 448 3 1 same", "relu"] * 2),
        ((8, 8, 256), ["bottleneck 448"] * 3),
        (
            (32, 32, 32),
            [
                *("conv 48 3 2 same", "bn", "swish", "max_pool 3 2 same"),
                *("conv 96 3 1 same", "average_pool 2 2 valid", "add"),
            ],
        ),
        ((3, 3, 256), [*_unit(512, 3), *_unit(896, 1), *_unit(256, 1)]),
        # Weights of tens of megabytes.
        ((4, 4, 512), ["conv 640 3 1 same", "relu", "conv 512 3 1 same"]),
        ((3, 3, 1536), ["bottleneck 2304", "bottleneck 2304"]),
        ((2, 2, 640), ["flatten", "dense 5120", "relu", "dense 3072"]),
    )
    return [BodyProbe(shape, tuple(words)) for shape, words in made]


def build(probe: BodyProbe) -> tuple[Any, list[str]]:
    """The Keras model around a body, and where it is to be cut."""
    import keras
    from keras import layers

    image = keras.Input(probe.shape, name="image")
    x = layers.Activation("linear", name=SMASHED)(image)
    for words in probe.layers:
        x = layer(words, x)
    x = layers.Activation("linear", name=FEATURES)(x)
    return keras.Model(image, layers.Activation("linear")(x)), [
        SMASHED,
        FEATURES,
    ]
