"""Cut-layer tensors where they leave a TensorFlow graph and come back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.messages import CutTensor
from keras_split.messages import TensorSpec
from keras_split.quantization import Rule
from keras_split.quantize import QuantizedTensor
from keras_split.quantize import dequantize
from keras_split.quantize import quantize


class Crossing:
    """Tensors of one boundary in one direction, under one rule.

    A tensor crosses as *parts*: its packed codes and, for integer rules, its
    scales. Parts are what a graph can hand to a host callback.

    Args:
        specs: The tensors, in order.
        rule: How they are quantized.
        dtypes: The dtypes they have in the graph; float32 if not given.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        rule: Rule,
        dtypes: Sequence[str] | None = None,
    ) -> None:
        self.specs = tuple(specs)
        self.rule = rule
        self.dtypes = tuple(dtypes or ["float32"] * len(self.specs))

    @property
    def part_dtypes(self) -> list[tf.DType]:
        """The dtype of each part."""
        codes = [tf.as_dtype(self.rule.code_dtype)]
        scales = [] if self.rule.is_float else [tf.float32]
        return (codes + scales) * len(self.specs)

    @property
    def part_specs(self) -> list[tf.TensorSpec]:
        """The signature of the parts, for batches of any size."""
        specs = []
        for spec in self.specs:
            codes = self.rule.codes_per_example(spec.shape)
            specs.append(tf.TensorSpec((None, codes), self.rule.code_dtype))
            if not self.rule.is_float:
                specs.append(tf.TensorSpec((None, 2), tf.float32))
        return specs

    def quantize(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Parts of tensors of shape `(batch, *spec.shape)`."""
        parts = []
        for tensor, spec in zip(tensors, self.specs, strict=True):
            tensor = tf.ensure_shape(tensor, (None, *spec.shape))
            quantized = quantize(tensor, self.rule)
            parts.append(quantized.codes)
            if quantized.scales is not None:
                parts.append(quantized.scales)
        return parts

    def dequantize(self, parts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The inverse of `quantize`, up to the rule's error."""
        waiting = iter(parts)
        tensors = []
        for spec, dtype in zip(self.specs, self.dtypes, strict=True):
            codes = next(waiting)
            codes.set_shape((None, self.rule.codes_per_example(spec.shape)))
            scales = None
            if not self.rule.is_float:
                scales = next(waiting)
                scales.set_shape((None, 2))
            quantized = QuantizedTensor(codes, scales)
            tensors.append(
                dequantize(quantized, self.rule, spec.shape, tf.as_dtype(dtype))
            )
        return tensors

    def wrap(self, parts: Sequence[Any]) -> list[CutTensor]:
        """Parts that left a graph, as tensors for a message."""
        waiting = iter(parts)
        tensors = []
        for spec in self.specs:
            codes = np.asarray(next(waiting))
            scales = None if self.rule.is_float else np.asarray(next(waiting))
            shape = (codes.shape[0], *spec.shape)
            tensors.append(CutTensor(spec.name, shape, codes, scales))
        return tensors

    def unwrap(self, tensors: Sequence[CutTensor]) -> list[Any]:
        """The inverse of `wrap`; the tensors have been checked."""
        parts = []
        for tensor in tensors:
            parts.append(tensor.codes)
            if tensor.scales is not None:
                parts.append(tensor.scales)
        return parts

    def read(self, tensors: Sequence[CutTensor]) -> list[Any]:
        """The float32 arrays behind tensors of a message."""
        parts = [tf.convert_to_tensor(part) for part in self.unwrap(tensors)]
        return [tensor.numpy() for tensor in self.dequantize(parts)]
