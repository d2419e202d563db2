"""A network that turns smashed data into inputs."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_split.audit.chance import drawn_from
from keras_split.audit.images import bounds_of
from keras_split.audit.images import is_image
from keras_split.audit.scene import Scene
from keras_split.audit.seen import Seen

Shape = tuple[int, ...]
_NORM = {"momentum": 0.9}  # it is trained for hundreds of steps, not tens of
# thousands
_WIDTH = 32  # channels at the size of the input's half


def make_decoder(
    smashed: Sequence[Shape], example: Shape, bounds: tuple[float, float]
) -> keras.Model:
    """A network from smashed data to inputs, with random weights.

    Maps `(height, width, channels)` go through transposed convolutions until
    they have the input's size, the smallest of several tensors first, and
    each next one joins where it fits; tokens `(h * w, channels)`, with or
    without a class token, are laid out as maps; vectors are made maps by a
    dense layer. Inputs that are no maps come from dense layers.

    Args:
        smashed: Shapes of the tensors, without the batch.
        example: Shape of an input.
        bounds: Lowest and highest value of inputs; images are kept to these.

    Returns:
        A model from a list of tensors to one of shape `(batch, *example)`.
    """
    inputs = [keras.Input(shape) for shape in smashed]
    if len(example) == 3:
        made = _to_map(inputs, example)
    else:
        made = _to_values(inputs, example)
    if is_image(example):
        low, high = bounds
        made = layers.Activation("sigmoid")(made)
        made = layers.Rescaling(high - low, low)(made)
    return keras.Model(inputs, made, name="decoder")


def decoder_for(scene: Scene) -> keras.Model:
    """One from what a phone sends to what it has."""
    x = scene.public.x
    with drawn_from(scene.seed):
        return make_decoder(
            [spec.shape for spec in scene.contract.smashed],
            x.shape[1:],
            bounds_of(x),
        )


def decoded(decoder: keras.Model, seen: Sequence[Seen]) -> np.ndarray[Any, Any]:
    """What a decoder makes of the smashed data of some steps."""
    return np.concatenate(
        [
            np.asarray(decoder(list(step.smashed), training=False))
            for step in seen
        ]
    )


def as_map(x: Any) -> Any | None:
    """Maps, and tokens laid out as maps; None for anything else."""
    shape = tuple(x.shape[1:])
    if len(shape) == 3:
        return x
    if len(shape) == 2:
        side = math.isqrt(shape[0])
        extra = shape[0] - side**2
        if side > 1 and extra in (0, 1):  # one more: a class token
            if extra:
                x = layers.Cropping1D((1, 0))(x)
            return layers.Reshape((side, side, shape[1]))(x)
    return None


def _to_map(inputs: Sequence[Any], example: Shape) -> Any:
    height, width, channels = example
    vectors = [layers.Flatten()(x) for x in inputs if as_map(x) is None]
    maps = [m for m in map(as_map, inputs) if m is not None]
    if vectors:
        small = (-(-height // 4), -(-width // 4), _WIDTH)
        x = layers.Concatenate()(vectors) if len(vectors) > 1 else vectors[0]
        x = layers.Dense(math.prod(small))(x)
        maps.append(layers.Reshape(small)(x))
    maps.sort(key=lambda m: m.shape[1] * m.shape[2])
    x = None
    for m in maps:
        size = m.shape[1:3]
        m = _convolved(m, min(max(_WIDTH, m.shape[3]), 4 * _WIDTH))
        if x is not None:
            x = _grown(x, size)
            m = layers.Concatenate()([x, m])
            m = _convolved(m, 2 * _WIDTH)
        x = m
    x = _grown(x, (height, width))
    return layers.Conv2D(channels, 3, padding="same")(x)


def _convolved(x: Any, filters: int) -> Any:
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(**_NORM)(x))


def _grown(x: Any, size: Shape) -> Any:
    """Doubled as long as that comes nearer to the size, then resized."""
    while x.shape[1] * 1.5 <= size[0] and x.shape[2] * 1.5 <= size[1]:
        filters = max(x.shape[3] // 2, _WIDTH // 2)
        x = layers.Conv2DTranspose(filters, 4, 2, padding="same")(x)
        x = layers.ReLU()(x)
    if tuple(x.shape[1:3]) != tuple(size):
        x = layers.Resizing(*size)(x)
    return x


def _to_values(inputs: Sequence[Any], example: Shape) -> Any:
    flat = [layers.Flatten()(x) for x in inputs]
    x = layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    values = math.prod(example)
    hidden = layers.Dense(min(4 * max(values, 32), 512))(x)
    hidden = layers.ReLU()(layers.BatchNormalization(**_NORM)(hidden))
    # A linear way beside, since what it undoes may be linear.
    made = layers.Dense(values)(x) + layers.Dense(values)(hidden)
    return layers.Reshape(example)(made)
