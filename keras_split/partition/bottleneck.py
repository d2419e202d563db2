"""Fewer channels where a model is cut.

A cut layer often has many channels that say nearly the same: those of a first
convolution are functions of the same few pixels. So the phone sends a linear
mix of them with fewer channels, and the server begins by mixing that back; the
features on their way down likewise. Both mixes are layers of the model and
train with it (Eshratifar, Esmaili and Pedram, "BottleNet: A Deep Learning
Architecture for Intelligent Mobile Cloud Computing Services", arXiv
1902.01000).
"""

import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_split.compression.presets import width
from keras_split.compression.shared import Share
from keras_split.partition.graph import Tensor
from keras_split.partition.partition import Partition

_ENDINGS = ("_code", "_decoder")


def add_bottlenecks(
    model: keras.Model,
    cut: Any,
    ratio: int,
    share: Share = (),
    lengths: Sequence[int] = (),
) -> tuple[keras.Model, list[list[str]]]:
    """A model with bottlenecks at its cuts, and where to cut it.

    Behind each tensor that crosses come an encoder, a 1x1 convolution to
    `channels // ratio` channels (at least 1), and a decoder, a 1x1 convolution
    back to all of them; dense layers where tensors are not images. The cut is
    between the two. Skips that stay on
    the phone are left as they are.

    It is another model: it has to be trained, or trained on, with them. Its
    other layers, and so their weights, are those of `model`. The new layers
    start with the same weights wherever they are made.

    Args:
        model: A functional or Sequential model, built, channels last.
        cut: As in `keras_split.Partition`.
        ratio: How many times fewer channels cross.
        share: As in `keras_split.Partition`.
        lengths: As in `keras_split.Partition`.

    Returns:
        The model, and its cuts.

    Raises:
        CutError: If the model cannot be cut there.

    Example:
    >>> keras.utils.clear_session()
    >>> x = inputs = keras.Input((8, 8, 3))
    >>> x = keras.layers.Conv2D(16, 3, name="first")(x)
    >>> x = keras.layers.Conv2D(16, 3, name="second")(x)
    >>> x = keras.layers.GlobalAveragePooling2D()(x)
    >>> model = keras.Model(inputs, keras.layers.Dense(2)(x))
    >>> slim, cut = add_bottlenecks(model, ["first", "second"], ratio=4)
    >>> cut
    [['first_code'], ['second_code']]
    >>> slim.get_layer("first_code").output.shape
    (None, 6, 6, 4)
    """
    partition = Partition(model, cut, share, lengths)
    head, body, tail = partition.head, partition.body, partition.tail
    made: dict[Tensor, Any] = {
        tensor: keras.Input(
            batch_shape=tensor.spec.shape,
            dtype=tensor.spec.dtype,
            name=tensor.name,
            optional=tensor.optional,
        )
        for tensor in partition.raw_inputs
    }
    flat = iter(list(made.values()))
    inputs = keras.tree.map_structure(
        lambda name: next(flat), partition.input_structure
    )
    flatten = keras.tree.flatten
    results = flatten(head.model([made[t] for t in head.inputs]))
    made.update(zip(head.outputs, results, strict=True))
    narrow = [_Narrow(t, ratio, i) for i, t in enumerate(partition.smashed)]
    codes = [[n.name for n in narrow]]
    given = [n(made[n.tensor]) for n in narrow]
    given += [made[t] for t in partition.shared]
    outputs = flatten(body.model(given))
    if tail is not None:
        # What the tail has from the head never crosses.
        made.update(zip(body.outputs, outputs, strict=True))
        narrow = [
            _Narrow(t, ratio, 100 + i) for i, t in enumerate(body.outputs)
        ]
        codes.append([n.name for n in narrow])
        made.update({n.tensor: n(made[n.tensor]) for n in narrow})
        outputs = flatten(tail.model([made[t] for t in tail.inputs]))
    packed = keras.tree.map_structure(
        lambda number: outputs[number], partition.output_structure
    )
    slim = keras.Model(inputs, packed, name=model.name)
    if partition.output_names:
        slim.output_names = partition.output_names
    return slim, codes


def is_wrapped(segment: keras.Model, nested: keras.Model) -> bool:
    """Whether a nested model is what a segment was before `add_bottlenecks`.

    Args:
        segment: Head, body or tail.
        nested: A model in it.
    """
    return nested.name == segment.name and any(
        layer.name.endswith(_ENDINGS) for layer in segment.layers
    )


class _Narrow:
    """Encoder and decoder for one tensor.

    Attributes:
        tensor: The tensor.
        name: Name of the encoder, the last layer before the cut.
    """

    def __init__(self, tensor: Tensor, ratio: int, number: int) -> None:
        label = re.sub(r"[/:#]", "_", tensor.label)
        channels = tensor.shape[-1] or 1
        self.tensor = tensor
        self.name, decoder = (label + ending for ending in _ENDINGS)
        self._encode = self._mix(width(channels, ratio), self.name, 2 * number)
        self._decode = self._mix(channels, decoder, 2 * number + 1)

    def __call__(self, x: Any) -> Any:
        return self._decode(self._encode(x))

    def _mix(self, channels: int, name: str, seed: int) -> keras.layers.Layer:
        options = {
            "kernel_initializer": keras.initializers.GlorotUniform(seed),
            "name": name,
        }
        if len(self.tensor.shape) == 3:
            return keras.layers.Conv2D(channels, 1, **options)
        return keras.layers.Dense(channels, **options)
