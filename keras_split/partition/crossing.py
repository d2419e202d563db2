"""Which tensors of a model cannot travel between phone and server."""

from collections.abc import Mapping

from keras_split.partition.assignment import mask_travels
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Tensor
from keras_split.utils import keras_private

_FIXED = (
    "give the model an input shape without None, or a length with "
    "keras_split.fix_length(model, length), or several with "
    "keras_split.compile(..., lengths=[...])"
)


def why_not(
    graph: Graph,
    rows: Mapping[Tensor, float],
    tensor: Tensor,
    *,
    lengths: bool = False,
) -> str:
    """Why a tensor cannot travel; empty if it can.

    Args:
        graph: It is of.
        rows: Of its tensors for each example, as of `rows_per_batch`.
        tensor: Made by a call; or an input that is to be shared.
        lengths: Whether sequences of several lengths may travel.
    """
    if tensor in graph.masks:
        return mask_travels(graph.masks[tensor])
    count = rows.get(tensor, 1)
    problem = ""
    if tensor.call is None:
        return _why_not_shared(tensor, lengths)
    if count != 1:
        problem = (
            f"has {count:.3g} rows for each example of a batch, and a "
            "step is made of examples; cut before an axis is folded "
            "into the batch, or behind where it is taken out again"
        )
    elif None in tensor.shape and not lengths:
        problem = f"has shape {tensor.shape}; {_FIXED}"
    elif "float" not in str(tensor.spec.dtype):
        problem = (
            f"is {tensor.spec.dtype}; only floating point tensors "
            "can be trained through, so cut behind the layer that "
            "reads it"
        )
    elif keras_private.mask_of(tensor.spec) is not None:
        problem = (
            "carries a mask, which does not travel; cut behind the "
            "layer that consumes the mask"
        )
    return problem and f"{tensor.name!r} would travel and {problem}"


def _why_not_shared(tensor: Tensor, lengths: bool) -> str:
    """Why an input of the model cannot travel; empty if it can."""
    problem = ""
    if tensor.optional or tensor.spec.sparse:
        kind = "optional" if tensor.optional else "sparse"
        problem = f"is {kind}; share inputs that are always there, and dense"
    elif None in tensor.shape and not lengths:
        problem = f"has shape {tensor.shape}; {_FIXED}"
    return problem and f"the input {tensor.name!r} would travel and {problem}"
