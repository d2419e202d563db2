"""How large gradients are, and how they are made smaller, without a graph."""

import math
from collections.abc import Sequence

from keras_split.compression.rules import Rule
from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError


def bound(tensors: Sequence[CutTensor], rule: Rule) -> float:
    """A number that the norm of all tensors together is not above.

    For floats it is the norm itself. For codes with scales it follows from
    the scales alone, as if every code were the largest: it costs nothing, and
    is at most some hundred times the norm.

    Args:
        tensors: Gradients, or smashed data, that have been checked.
        rule: How they are quantized.
    """
    total = sum(
        rule.format.squared_bound(
            tensor.codes, tensor.scales, math.prod(tensor.shape)
        )
        for tensor in tensors
    )
    return math.sqrt(total)


def check_norm(norm: float, limit: float) -> None:
    """Refuses gradients that would carry the body away.

    Raises:
        ProtocolError: With reason `"norm"`.
    """
    if norm > limit:
        raise ProtocolError(
            "Expected gradients of the features with a norm of at most "
            f"{limit:g}. Received: {norm:g}. The step was not taken; lower "
            "the learning rate or look at the loss, or start the server with "
            "a larger --max-grad-norm.",
            "norm",
        )


def scaled(
    tensors: Sequence[CutTensor], factor: float, rule: Rule
) -> list[CutTensor]:
    """The same tensors times `factor`; of codes with scales only those."""
    made = []
    for tensor in tensors:
        codes, scales = rule.format.scaled(tensor.codes, tensor.scales, factor)
        made.append(CutTensor(tensor.name, tensor.shape, codes, scales))
    return made
