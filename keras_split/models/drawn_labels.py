"""Labels that a client trains with, where a defense draws them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import keras
import tensorflow as tf

from keras_split.errors import DefenseError
from keras_split.utils import keras_private

if TYPE_CHECKING:
    from keras_split.models.client import ClientModel


def drawn_labels(
    client: "ClientModel",
    head_inputs: Sequence[tf.Tensor],
    tail_inputs: Sequence[tf.Tensor],
    y: Any,
    sample_weight: Any,
) -> Any:
    """What the loss is of, in the structure of `y`; `y` without a defense.

    Args:
        client: Has the defenses, and the loss.
        head_inputs: Inputs of the head, by which an example is known again.
        tail_inputs: Raw inputs that only the tail reads, likewise.
        y: Labels.
        sample_weight: Of the examples.

    Raises:
        DefenseError: If there is not one class for an example, or a weight,
            which may tell it.
    """
    if not client.defenses.applies("labels"):
        return y
    labels = keras.tree.flatten(y)
    if len(labels) != 1 or labels[0] is None:
        raise DefenseError(
            "Expected the labels of one output, to draw others. Received: "
            f"labels for {len([t for t in labels if t is not None])}. Leave "
            "the defense of labels out."
        )
    if any(w is not None for w in keras.tree.flatten(sample_weight)):
        raise DefenseError(
            "Expected examples without weights, for a defense of labels: a "
            "weight, such as Keras makes of class_weight, may tell the label "
            "that it hides. Received: sample_weight. Leave weights out."
        )
    tail = client.tail
    given = [*head_inputs, *tail_inputs]
    specs = list(client.head.inputs)
    if tail is not None:
        specs += tail.inputs[len(tail.inputs) - len(tail_inputs) :]
    # As the phone's file has them.
    inputs = [
        tf.cast(x, spec.dtype)
        for x, spec in zip(given, specs, strict=True)
        if x is not None
    ]
    losses = keras.tree.flatten(keras_private.loss_given(client))
    shapes = prediction_shapes(client)
    if len(shapes) != 1 or len(losses) != 1:
        raise DefenseError(
            "Expected a model with one output and one loss, for a defense of "
            f"labels. Received: {len(shapes)} and {len(losses)}. Leave the "
            "defense out, or train one output."
        )
    drawn = client.defenses.answers(labels[0], losses[0], shapes[0], inputs)
    return keras.tree.map_structure(lambda _: drawn, y)


def prediction_shapes(client: "ClientModel") -> list[tuple[int, ...]]:
    """Of each output, without the batch."""
    if client.tail is None:
        return [tuple(spec.shape) for spec in client.contract.features]
    return [tuple(tensor.shape[1:]) for tensor in client.tail.outputs]
