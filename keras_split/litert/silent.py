"""What a phone's file would drop in silence, refused by name.

A file has the outputs of head and tail, and the state that it knows of. A
mask that goes with a tensor, state that a layer moves by itself and examples
that share rows have no place in it.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import keras

from keras_split.errors import ExportError
from keras_split.utils import keras_private


@contextmanager
def watched(
    scope: keras.StatelessScope,
    variables: Iterable[keras.Variable],
    moving: Sequence[keras.Variable] = (),
) -> Iterator[None]:
    """Refuses layers that move other state than the file keeps.

    Args:
        scope: Where they are called.
        variables: All variables of the half, which the scope has values of.
        moving: Those of them that may move.

    Raises:
        ExportError: When left, if another one has moved.
    """
    # What a phone draws comes from the number of the step, see Dropout.
    fixed = [
        v
        for v in variables
        if "seed_generator" not in v.path and not any(v is m for m in moving)
    ]
    before = [scope.get_current_value(v) for v in fixed]
    yield
    for variable, value in zip(fixed, before, strict=True):
        if scope.get_current_value(variable) is not value:
            raise ExportError(
                "Expected layers whose state stands still on the phone, "
                "except for the statistics of BatchNormalization. Received: "
                f"one that moves {variable.path!r} when it is called. Take a "
                "layer without it, or cut so that the server has it."
            )


def check_stateless(model: Any) -> None:
    """Refuses recurrent layers that remember the batch before.

    Raises:
        ExportError: If there are any.
    """
    for layer in keras_private.flatten_layers(model):
        if getattr(layer, "stateful", False):
            raise ExportError(
                "Expected layers that begin each batch anew. Received: "
                f"{layer.name!r} with stateful=True, whose state has no place "
                "in a phone's file. Pass stateful=False."
            )


def check_rows(model: Any, outputs: Sequence[Any], size: int) -> None:
    """Refuses outputs that do not have one row for each example.

    Raises:
        ExportError: If there are any.
    """
    for symbolic, output in zip(model.outputs, outputs, strict=True):
        rows = output.shape[0] if len(output.shape) else 0
        if rows not in (None, size):
            raise ExportError(
                f"Expected {_made_by(symbolic)} to give one row for each of "
                f"{size} examples. Received: {rows} rows. Undo what folds an "
                "axis into the batch before the cut, or cut elsewhere."
            )


def check_masks(model: Any, outputs: Sequence[Any], where: str) -> None:
    """Refuses outputs with a mask, which would be lost.

    Args:
        model: Has the outputs.
        outputs: Those of its outputs that count, None for others.
        where: What Keras would do with their masks.

    Raises:
        ExportError: If any has one.
    """
    for symbolic, output in zip(model.outputs, outputs, strict=True):
        if output is not None and keras_private.mask_of(output) is not None:
            raise ExportError(
                f"Expected {_made_by(symbolic)} to give a tensor without a "
                "mask, which has no place in a phone's file. Received: one "
                f"{where}. Cut behind the layer that uses the mask up, or "
                "mask with keras.ops.where instead."
            )


def _made_by(symbolic: Any) -> str:
    return repr(keras_private.made_by(symbolic).name)
