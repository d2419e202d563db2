"""A client model for sequences of one of its lengths."""

from typing import TYPE_CHECKING
from typing import Any

from keras_split.errors import ExportError
from keras_split.partition.graph import Tensor
from keras_split.partition.length import at_length
from keras_split.utils import keras_private

if TYPE_CHECKING:
    from keras_split.models.client import ClientModel


def of_length(client: "ClientModel", length: int | None) -> "ClientModel":
    """A client with the same layers, whose sequences have one length.

    Args:
        client: One whose sequences may have several lengths. Any other is
            returned as it is.
        length: Which of them.

    Raises:
        ExportError: If it is none of them.
    """
    lengths = client.contract.lengths
    if length not in (lengths or (None,)):
        raise ExportError(
            "Expected sequence_length as one of the lengths that the client "
            f"was compiled with, for a file has one: {list(lengths)}. "
            f"Received: sequence_length={length}. "
            + (
                f"Pass sequence_length={lengths[-1]}, and write a file for "
                "each length."
                if lengths
                else "Leave it out: the length is that of its inputs."
            )
        )
    if length is None:
        return client
    contract = client.contract.at(length)
    head = at_length(client.head, lambda tensor: _raw(tensor, length))
    tail = client.tail
    if tail is not None:
        known = [spec.shape for spec in contract.features]
        known += [head.outputs[i].shape[1:] for i in client.wiring.skips]
        inputs = iter(known)

        def shape(tensor: Tensor) -> tuple[int | None, ...]:
            axes = next(inputs, None)
            if axes is None:
                return _raw(tensor, length)
            return (tensor.spec.shape[0], *axes)

        tail = at_length(tail, shape)
    made = type(client)(
        head,
        tail,
        contract,
        client.wiring.of_one_length(),
        name=client.name,
        defenses=client.defenses,
        moment=client.moment,
        data_spec=client.data_spec,
    )
    if client.compiled:
        _compile_like(made, client)
    return made


def _raw(tensor: Tensor, length: int) -> tuple[int | None, ...]:
    """The shape of an input of the model, with the batch."""
    batch, *axes = tensor.spec.shape
    return (batch, *(length if n is None else n for n in axes))


def _compile_like(made: Any, client: Any) -> None:
    given = keras_private.compile_config(client)
    given.pop("jit_compile", None)
    given["optimizer"] = client.optimizer
    made.compile(
        **given, learning_rate_multipliers=client.learning_rate_multipliers
    )
