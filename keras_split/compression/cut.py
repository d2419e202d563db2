"""The cut as the phone has it: defenses, then quantization, then parts."""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import tensorflow as tf

from keras_split.compression.cut_codec import CutCodec
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.compression.shared import SharedSpec
from keras_split.compression.tensors import TensorSpec
from keras_split.defenses.chain import Chain
from keras_split.defenses.chain import Moment
from keras_split.errors import DefenseError


class Cut(CutCodec):
    """Tensors that leave the phone: defended, quantized, in parts.

    Args:
        specs: The tensors, in order.
        rule: How they are quantized.
        dtypes: The dtypes they have in the graph.
        defenses: What is done to them before.
        where: `"smashed"` or `"features_grad"`.
        shared: Inputs of the model that cross behind them, as they are.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        rule: Rule,
        dtypes: Sequence[str],
        defenses: Chain,
        where: str,
        shared: Sequence[SharedSpec] = (),
    ) -> None:
        super().__init__(specs, rule, dtypes, shared)
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

    def penalty(
        self,
        inputs: Sequence[tf.Tensor | None],
        tensors: Sequence[tf.Tensor],
        trains: bool,
        count: Any = None,
    ) -> tf.Tensor | None:
        """What the defenses add to the loss; None for nothing.

        Args:
            inputs: What `tensors` were made of.
            tensors: As they are before any defense.
            trains: Whether there are weights that could learn from it.
            count: How many of the examples are real, if not all.

        Raises:
            DefenseError: If there are none.
        """
        if self._defenses.has_penalty and not trains:
            raise DefenseError(
                "Expected a head with weights to train, for a defense that "
                "is a loss. Received: one that is frozen, or has none. Thaw "
                "it, cut deeper, or leave the defense out."
            )
        given = [x for x in inputs if x is not None]
        return self._defenses.penalty(given, tensors, count)

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
    shared: Sequence[SharedSpec] = (),
) -> ClientCuts:
    """The four kinds of tensors of a client.

    Args:
        smashed: The tensors of the first cut.
        features: Those of the second.
        quantization: How all of them lose precision.
        leaves: Dtypes of the head's outputs.
        arrives: Dtypes of the tail's inputs; None if there is no tail.
        defenses: What is done to tensors before they leave.
        shared: Inputs of the model that leave with the smashed data.
    """
    forward, back = quantization.activations, quantization.gradients
    arrives = arrives or ["float32"] * len(features)
    returns = leaves
    if defenses.applies("smashed"):  # it makes them float32
        returns = ["float32"] * len(smashed)
    return ClientCuts(
        Cut(smashed, forward, leaves, defenses, "smashed", shared),
        CutCodec(features, forward, arrives),
        Cut(features, back, arrives, defenses, "features_grad"),
        CutCodec(smashed, back, returns),
    )
