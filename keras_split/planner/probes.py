"""The networks that a machine is measured with.

Each is cut twice, so that it has a head and a tail. They are small pieces in
the manner of well known networks, with widths, sizes and batches drawn by
chance: what stands together in a phone's half stands together in them, and in
so many proportions that the cost of each kind of layer can be told apart.
`scripts/make_probes.py` exports them; a phone runs the files, without Keras.
"""

import random
from dataclasses import dataclass
from typing import Any

_SEED = 19
_CLASSES = 10


@dataclass(frozen=True)
class Probe:
    """A network as words: what stands in its head and its tail.

    Attributes:
        size: Height and width of the image.
        batch: Examples of a step.
        head: Layers from the image on, such as `"conv 32 3 2 same"`.
        features: Height and width, and channels, of what the tail gets.
        tail: Layers before the last pool and the dense layer.
    """

    size: int
    batch: int
    head: tuple[str, ...]
    features: tuple[int, int]
    tail: tuple[str, ...]


def probes(count: int = 36) -> list[Probe]:
    """The same for everybody; the first dozen has a bit of everything."""
    chance = random.Random(_SEED)
    return [_probe(chance, number) for number in range(count)]


# Tails with as many weights as the last blocks of large networks: at batch 1
# those take most of the time, and hardly one of those drawn has such.
_HEAVY = (
    Probe(
        *(64, 1, ("bare 32 3 2 same", "bn", "relu"), (2, 896)),
        ("bottleneck 1792", "bottleneck 1792"),
    ),
    Probe(
        *(48, 1, ("conv 24 3 2 same", "relu", "max_pool 2 2 valid"), (3, 640)),
        ("conv 384 3 1 same", "relu", "bare 448 1 1 same", "bn", "relu"),
    ),
)


def shipped() -> list[Probe]:
    """Those that come with keras_split."""
    return [*probes(12), *_HEAVY]


def _probe(chance: random.Random, number: int) -> Probe:
    batch = (1, 8, 1, 4, 1, 8)[(number // 6 + number) % 6]
    style = _STYLES[number % len(_STYLES)]
    large = (64, 80, 96, 112, 144) if batch == 1 else (40, 48, 64, 80, 96)
    head = style(chance)
    side = chance.choice((2, 3, 4, 6))
    channels = chance.choice((64, 128, 256, 512, 1024))
    tail: list[str] = []
    for _ in range(number % 3):
        tail += _tail_block(chance)
    size = chance.choice(large)
    return Probe(size, batch, tuple(head), (side, channels), tuple(tail))


def _residual(chance: random.Random) -> list[str]:
    """In the manner of ResNet."""
    width = chance.choice((48, 64))
    head = ["pad 3", f"conv {width} 7 2 valid", "bn", "relu"]
    head += ["pad 1", "max_pool 3 2 valid"]
    for _ in range(chance.choice((0, 1, 2))):
        head.append(f"bottleneck {chance.choice((96, 128, 192, 256))}")
    return head


def _plain(chance: random.Random) -> list[str]:
    """In the manner of VGG."""
    width = chance.choice((32, 48, 64))
    head = [f"conv {width} 3 1 same", "relu"]
    if chance.random() < 0.6:
        head += [f"conv {width} 3 1 same", "relu"]
    head.append("max_pool 2 2 valid")
    for _ in range(chance.choice((0, 1, 1))):
        width = chance.choice((64, 96, 128))
        head += [f"conv {width} 3 1 same", "relu", "max_pool 2 2 valid"]
    return head


def _inverted(chance: random.Random) -> list[str]:
    """In the manner of MobileNetV2."""
    width = chance.choice((24, 32))
    head = [f"bare {width} 3 2 same", "bn", "relu6", "depthwise 3 1 same"]
    head += ["bn", "relu6", "bare 16 1 1 same", "bn"]
    for _ in range(chance.choice((0, 1, 2))):
        wide, strided = chance.choice((96, 144, 192)), chance.random() < 0.5
        head += [f"bare {wide} 1 1 same", "bn", "relu6"]
        head += ["pad 1", "depthwise 3 2 valid"] if strided else []
        head += [] if strided else ["depthwise 3 1 same"]
        head += ["bn", "relu6", f"bare {wide // 6} 1 1 same", "bn"]
    return head


def _dense(chance: random.Random) -> list[str]:
    """In the manner of DenseNet."""
    width = chance.choice((48, 64))
    head = ["pad 3", f"bare {width} 7 2 valid", "bn", "relu"]
    head += ["pad 1", "max_pool 3 2 valid"]
    for _ in range(chance.choice((0, 1, 2, 3))):
        head.append(f"grow {chance.choice((96, 128))} 32")
    if chance.random() < 0.5:
        head += ["bn", "relu", "bare 64 1 1 same", "average_pool 2 2 valid"]
    return head


def _mixed(chance: random.Random) -> list[str]:
    """In the manner of Inception."""
    head = ["bare 32 3 2 valid", "bn", "relu"]
    for width in (32, 64)[: chance.choice((0, 1, 2))]:
        head += [f"bare {width} 3 1 valid", "bn", "relu"]
    head.append("max_pool 3 2 valid")
    if chance.random() < 0.6:
        wide = chance.choice((80, 128, 192))
        head += [f"bare {wide} 1 1 same", "bn", "relu"]
    if chance.random() < 0.6:
        head.append(f"branches {chance.choice((48, 64))}")
    return head


def _other(chance: random.Random) -> list[str]:
    """What the others lack: SiLU, strided kernels, wide layers, scaling."""
    head = ["conv 24 3 1 same", chance.choice(("swish", "relu"))]
    head += [f"conv {chance.choice((48, 96))} 3 2 same", "bn", "swish"]
    head += [f"depthwise {chance.choice((3, 5))} 2 same", "bn"]
    head += [f"conv {chance.choice((128, 256))} 1 1 same", "swish"]
    head += chance.choice((["rescale"], ["conv 64 1 2 same"], ["add"]))
    return head


_STYLES = (_residual, _plain, _inverted, _dense, _mixed, _other)


def _tail_block(chance: random.Random) -> list[str]:
    width = chance.choice((96, 160, 256, 384, 512))
    blocks = (
        [f"bare {width} 1 1 same", "bn", "relu"],
        [f"conv {min(width, 384)} 3 1 same", "relu"],
        ["grow 128 32"],
        [f"bare {width} 1 1 same", "bn", "relu6", "depthwise 3 1 same", "bn"],
        [f"bottleneck {width}"],
    )
    return chance.choice(blocks)


def build(probe: Probe) -> tuple[Any, list[str]]:
    """The Keras model of a probe, and where it is to be cut."""
    import keras
    from keras import layers

    image = x = keras.Input((probe.size, probe.size, 3), name="image")
    for words in probe.head:
        x = layer(words, x)
    x = layers.Activation("linear", name="smashed")(x)
    # The body, which is nobody's concern here.
    side, channels = probe.features
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(channels)(x)
    x = layers.Reshape((1, 1, channels))(x)
    x = layers.UpSampling2D(side, name="features")(x)
    for words in probe.tail:
        x = layer(words, x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(_CLASSES, activation="softmax")(x)
    return keras.Model(image, x), ["smashed", "features"]


def layer(words: str, x: Any) -> Any:
    """Adds what the words mean, such as `"conv 32 3 2 same"`, to a tensor."""
    from keras import layers

    kind, *rest = words.split()
    n = [int(word) for word in rest if word.isdigit()]
    padding = rest[-1] if rest else "same"

    def conv(x: Any, width: int, size: Any, bias: bool = False) -> Any:
        return layers.Conv2D(width, size, padding="same", use_bias=bias)(x)

    def normal(x: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization()(x))

    if kind in ("conv", "bare"):
        return layers.Conv2D(
            *n, padding=padding, use_bias=kind == "conv", name=None
        )(x)
    if kind == "depthwise":
        return layers.DepthwiseConv2D(*n, padding=padding, use_bias=False)(x)
    if kind == "bn":
        return layers.BatchNormalization()(x)
    if kind == "relu6":
        return layers.ReLU(6.0)(x)
    if kind == "pad":
        return layers.ZeroPadding2D(n[0])(x)
    if kind == "flatten":
        return layers.Flatten()(x)
    if kind == "dense":
        return layers.Dense(n[0], activation="relu")(x)
    if kind == "max_pool":
        return layers.MaxPooling2D(*n, padding=padding)(x)
    if kind == "average_pool":
        return layers.AveragePooling2D(*n, padding=padding)(x)
    if kind == "rescale":
        return layers.Rescaling(0.5)(x)
    if kind == "add":
        return layers.Add()([x, conv(x, x.shape[-1], 1)])
    if kind == "bottleneck":
        y = normal(conv(x, n[0] // 4, 1, True))
        y = normal(conv(y, n[0] // 4, 3, True))
        y = layers.BatchNormalization()(conv(y, n[0], 1, True))
        if x.shape[-1] != n[0]:
            x = layers.BatchNormalization()(conv(x, n[0], 1, True))
        return layers.ReLU()(layers.Add()([x, y]))
    if kind == "grow":
        y = conv(normal(x), n[0], 1)
        return layers.Concatenate()([x, conv(normal(y), n[1], 3)])
    if kind == "branches":
        one = normal(conv(x, n[0], 1))
        two = normal(conv(normal(conv(x, n[0], 1)), n[0], (1, 7)))
        three = layers.AveragePooling2D(3, 1, padding="same")(x)
        three = normal(conv(three, n[0] // 2, 1))
        return layers.Concatenate()([one, two, three])
    return layers.Activation(kind)(x)
