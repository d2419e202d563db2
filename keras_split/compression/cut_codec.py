"""Cut-layer tensors where they leave a TensorFlow graph and come back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.compression.quantize import QuantizedTensor
from keras_split.compression.quantize import dequantize
from keras_split.compression.quantize import quantize
from keras_split.compression.quantize import values_of
from keras_split.compression.rules import Rule
from keras_split.compression.shared import SharedSpec
from keras_split.compression.shared_codec import SharedCodec
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.compression.topk import positions_of


class CutCodec:
    """Tensors of one boundary in one direction, under one rule.

    A tensor crosses as *parts*: its packed codes and, for integer rules, its
    scales. Parts are what a graph can hand to a host callback.

    Args:
        specs: The tensors, in order.
        rule: How they are quantized.
        dtypes: The dtypes they have in the graph; float32 if not given.
        shared: Inputs of the model that cross behind them.

    Attributes:
        shared: Packs those; their parts are the last.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        rule: Rule,
        dtypes: Sequence[str] | None = None,
        shared: Sequence[SharedSpec] = (),
    ) -> None:
        self.specs = tuple(specs)
        self.rule = rule
        self.dtypes = tuple(dtypes or ["float32"] * len(self.specs))
        self.shared = SharedCodec(shared)

    @property
    def part_dtypes(self) -> list[tf.DType]:
        """The dtype of each part."""
        codes = [tf.as_dtype(self.rule.code_dtype)]
        scales = [tf.float32] if self.rule.has_scales else []
        mine = (codes + scales) * len(self.specs)
        return mine + self.shared.part_dtypes

    @property
    def part_specs(self) -> list[tf.TensorSpec]:
        """The signature of the parts, for batches of any size."""
        specs = []
        for spec in self.specs:
            codes = self.rule.codes_per_example(spec.shape)
            specs.append(tf.TensorSpec((None, codes), self.rule.code_dtype))
            if self.rule.has_scales:
                specs.append(tf.TensorSpec((None, 2), tf.float32))
        return specs + self.shared.part_specs

    def quantize(
        self,
        tensors: Sequence[tf.Tensor],
        positions: Sequence[tf.Tensor | None] = (),
    ) -> list[tf.Tensor]:
        """Parts of tensors of shape `(batch, *spec.shape)`, shared ones not.

        Args:
            tensors: What leaves the graph.
            positions: For gradients, what `positions` said of the tensors
                that they belong to.
        """
        parts = []
        for tensor, spec, known in zip(
            tensors, self.specs, self._known(positions), strict=True
        ):
            tensor = tf.ensure_shape(tensor, (None, *spec.shape))
            quantized = quantize(tensor, self.rule, known)
            parts.append(quantized.codes)
            if quantized.scales is not None:
                parts.append(quantized.scales)
        return parts

    def dequantize(
        self,
        parts: Sequence[tf.Tensor],
        positions: Sequence[tf.Tensor | None] = (),
    ) -> list[tf.Tensor]:
        """The inverse of `quantize`, up to the rule's error."""
        return [
            dequantize(
                quantized, self.rule, spec.shape, tf.as_dtype(dtype), known
            )
            for quantized, spec, dtype, known in zip(
                self._quantized(parts),
                self.specs,
                self.dtypes,
                self._known(positions),
                strict=True,
            )
        ]

    def positions(self, parts: Sequence[tf.Tensor]) -> list[tf.Tensor | None]:
        """Where values crossed, for the gradients that go the other way.

        One entry a tensor; None where all values cross.
        """
        if self.rule.block == 1:
            return [None] * len(self.specs)
        return [
            positions_of(quantized.codes, self.rule, spec.shape)
            for quantized, spec in zip(
                self._quantized(parts), self.specs, strict=True
            )
        ]

    def wrap(self, parts: Sequence[Any]) -> list[CutTensor]:
        """Parts that left a graph, as tensors for a message.

        None become none: those that nobody needs do not leave it.
        """
        tensors: list[CutTensor] = []
        if not len(parts):
            return tensors
        waiting = iter(parts)
        for spec in self.specs:
            codes = np.asarray(next(waiting))
            scales = np.asarray(next(waiting)) if self.rule.has_scales else None
            shape = (codes.shape[0], *spec.shape)
            tensors.append(CutTensor(spec.name, shape, codes, scales))
        if self.shared.specs:
            tensors += self.shared.wrap(waiting)
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
        """The float32 values that crossed, see `quantize.values_of`.

        They may have another shape than those of a graph with this codec.
        """
        parts = [tf.convert_to_tensor(part) for part in self.unwrap(tensors)]
        pairs = zip(self.specs, tensors, strict=False)  # shared ones follow
        specs = [TensorSpec(spec.name, t.shape[1:]) for spec, t in pairs]
        return [
            values_of(quantized, self.rule, spec.shape).numpy()
            for quantized, spec in zip(
                self._quantized(parts, specs), specs, strict=True
            )
        ]

    def _quantized(
        self,
        parts: Sequence[tf.Tensor],
        specs: Sequence[TensorSpec] | None = None,
    ) -> list[QuantizedTensor]:
        """The parts tensor by tensor, with their static shapes."""
        waiting = iter(parts)
        found = []
        for spec in self.specs if specs is None else specs:
            codes = next(waiting)
            codes.set_shape((None, self.rule.codes_per_example(spec.shape)))
            scales = None
            if self.rule.has_scales:
                scales = next(waiting)
                scales.set_shape((None, 2))
            found.append(QuantizedTensor(codes, scales))
        return found

    def _known(
        self, positions: Sequence[tf.Tensor | None]
    ) -> Sequence[tf.Tensor | None]:
        return positions or [None] * len(self.specs)
