"""The cut as the phone has it: defenses, then quantization, then parts."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from keras_split.compression.cut_codec import CutCodec
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.compression.tensors import TensorSpec
from keras_split.defenses.chain import Chain
from keras_split.defenses.chain import Moment


class Cut(CutCodec):
    """Tensors that leave the phone: defended, quantized, in parts.

    Args:
        specs: The tensors, in order.
        rule: How they are quantized.
        dtypes: The dtypes they have in the graph.
        defenses: What is done to them before.
        where: `"smashed"` or `"features_grad"`.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        rule: Rule,
        dtypes: Sequence[str],
        defenses: Chain,
        where: str,
    ) -> None:
        super().__init__(specs, rule, dtypes)
        self._defenses = defenses
        self._where = where

    def defend(
        self, tensors: Sequence[tf.Tensor], moment: Moment
    ) -> list[tf.Tensor]:
        """What is quantized instead of `tensors`; the same without defense.

        Gradients that come back belong to these, and go on to `tensors`
        through the defenses.
        """
        return [
            self._defenses.apply(tensor, self._where, number, moment)
            for number, tensor in enumerate(tensors)
        ]

    def send(
        self,
        tensors: Sequence[tf.Tensor],
        moment: Moment,
        positions: Sequence[tf.Tensor | None] = (),
    ) -> list[tf.Tensor]:
        """Parts of tensors, defended and quantized."""
        return self.quantize(self.defend(tensors, moment), positions)


class ClientCuts(NamedTuple):
    """What the phone sends and gets, by kind."""

    smashed: Cut
    features: CutCodec
    features_grad: Cut
    smashed_grad: CutCodec


def client_cuts(
    smashed: Sequence[TensorSpec],
    features: Sequence[TensorSpec],
    quantization: Quantization,
    *,
    leaves: Sequence[str],
    arrives: Sequence[str] | None,
    defenses: Chain,
) -> ClientCuts:
    """The four kinds of tensors of a client.

    Args:
        smashed: The tensors of the first cut.
        features: Those of the second.
        quantization: How all of them lose precision.
        leaves: Dtypes of the head's outputs.
        arrives: Dtypes of the tail's inputs; None if there is no tail.
        defenses: What is done to tensors before they leave.
    """
    forward, back = quantization.activations, quantization.gradients
    arrives = arrives or ["float32"] * len(features)
    returns = leaves
    if defenses.applies("smashed"):  # it makes them float32
        returns = ["float32"] * len(smashed)
    return ClientCuts(
        Cut(smashed, forward, leaves, defenses, "smashed"),
        CutCodec(features, forward, arrives),
        Cut(features, back, arrives, defenses, "features_grad"),
        CutCodec(smashed, back, returns),
    )
