"""Shared inputs where they leave a TensorFlow graph and come back."""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.compression import packing
from keras_split.compression.shared import BITS
from keras_split.compression.shared import SharedSpec
from keras_split.compression.tensors import CutTensor


def within(
    tensor: tf.Tensor, least: int, largest: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether all numbers are of a range, and one that is not, int64."""
    wide = tf.cast(tensor, tf.int64)
    low, high = tf.reduce_min(wide), tf.reduce_max(wide)
    fits = (low >= least) & (high <= largest)
    return fits, tf.where(high > largest, high, low)


class SharedCodec:
    """Packs inputs of a model without loss; each crosses as one part.

    Args:
        specs: The inputs, in order.
    """

    def __init__(self, specs: Sequence[SharedSpec] = ()) -> None:
        self.specs = tuple(specs)

    @property
    def part_dtypes(self) -> list[tf.DType]:
        """The dtype of each part."""
        return [tf.as_dtype(spec.code_dtype) for spec in self.specs]

    @property
    def part_specs(self) -> list[tf.TensorSpec]:
        """The signature of the parts, for batches of any size."""
        return [
            tf.TensorSpec((None, spec.codes_per_example), spec.code_dtype)
            for spec in self.specs
        ]

    def cast(self, tensors: Sequence[Any]) -> list[tf.Tensor]:
        """What the model makes of its inputs: tensors of their dtype.

        Args:
            tensors: As they were given, shape `(batch, *spec.shape)`; Keras
                also takes them without a last axis of 1.
        """
        return [
            tf.reshape(
                tf.cast(tf.convert_to_tensor(tensor), spec.dtype),
                (tf.shape(tensor)[0], *spec.shape),
            )
            for tensor, spec in zip(tensors, self.specs, strict=True)
        ]

    def fit(
        self, tensors: Sequence[tf.Tensor]
    ) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """For each input whether its packing holds all of its numbers.

        Beside it stands one that it does not hold.

        Args:
            tensors: As `cast` made them.
        """
        return [
            (tf.constant(True), tf.constant(0, tf.int64))
            if spec.range is None
            else within(tensor, *spec.range)
            for tensor, spec in zip(tensors, self.specs, strict=True)
        ]

    def pack(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Parts of inputs that `cast` made, and that `fit`."""
        parts = []
        for tensor, spec in zip(tensors, self.specs, strict=True):
            flat = tf.reshape(tensor, (-1, int(np.prod(spec.shape))))
            if spec.packing == BITS:
                part = packing.pack(tf.cast(flat, tf.float32), 1)
            else:
                part = tf.cast(flat, spec.packing)
            parts.append(part)
        return parts

    def unpack(self, parts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The inputs, in their shape and dtype.

        Args:
            parts: Theirs, or those of smashed data with theirs at the end.
        """
        tensors = []
        mine = list(parts)[len(parts) - len(self.specs) :]
        for part, spec in zip(mine, self.specs, strict=True):
            part.set_shape((None, spec.codes_per_example))
            if spec.packing == BITS:
                part = packing.unpack(part, 1, int(np.prod(spec.shape)))
            tensors.append(
                tf.cast(tf.reshape(part, (-1, *spec.shape)), spec.dtype)
            )
        return tensors

    def wrap(self, parts: Iterator[Any]) -> list[CutTensor]:
        """Parts that left a graph, as tensors for a message."""
        tensors = []
        for spec in self.specs:
            codes = np.asarray(next(parts))
            shape = (codes.shape[0], *spec.shape)
            tensors.append(CutTensor(spec.name, shape, codes))
        return tensors
