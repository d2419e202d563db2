"""How large gradients are, and how they are made smaller, without a graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError


def bound(tensors: Sequence[CutTensor]) -> float:
    """A number that the norm of all tensors together is not above.

    For floats it is the norm itself. For integer codes it follows from the
    scales alone, as if every code were the largest: it costs nothing, and is
    at most some hundred times the norm.
    """
    total = 0.0
    for tensor in tensors:
        if tensor.scales is None:
            values = _floats(tensor).astype(np.float32, copy=False).reshape(-1)
            with np.errstate(over="ignore"):
                total += float(values @ values)
        else:
            scale, zero_point = np.abs(tensor.scales.astype(np.float64)).T
            largest = (np.maximum(zero_point, 255.0) * scale) ** 2
            rows = max(len(largest), 1)
            total += float(largest.sum()) * np.prod(tensor.shape) / rows
    return float(np.sqrt(total))


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


def scaled(tensors: Sequence[CutTensor], factor: float) -> list[CutTensor]:
    """The same tensors times `factor`; of integer codes only scales change."""
    made = []
    for tensor in tensors:
        codes, scales = tensor.codes, tensor.scales
        if scales is not None:
            scales = scales * np.array([factor, 1], np.float32)
        elif codes.dtype == np.uint16:
            values = _floats(tensor) * np.float32(factor)
            codes = (values.view(np.uint32) >> 16).astype(np.uint16)
        else:
            codes = codes * codes.dtype.type(factor)
        made.append(CutTensor(tensor.name, tensor.shape, codes, scales))
    return made


def _floats(tensor: CutTensor) -> np.ndarray[Any, Any]:
    if tensor.codes.dtype != np.uint16:
        return tensor.codes
    return (tensor.codes.astype(np.uint32) << 16).view(np.float32)  # bfloat16
