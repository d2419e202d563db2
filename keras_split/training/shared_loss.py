"""The loss of a batch as the sum of what its microbatches add to it."""

from typing import Any

import keras
import tensorflow as tf

from keras_split.errors import ProtocolError
from keras_split.utils import keras_private

_MEANS = ("sum_over_batch_size", "mean")


class SharedLoss:
    """Says what a microbatch adds to the loss of its batch.

    Losses that are means over the examples are weighted with the part that
    the microbatch has of them, sums are added as they are, and regularizers of
    weights count once.

    Args:
        model: Has the loss.

    Raises:
        ProtocolError: With reason `"microbatches"`, if the loss is neither.
    """

    def __init__(self, model: keras.Model) -> None:
        if type(model).compute_loss is not keras.Model.compute_loss:
            raise refused("a compute_loss of its own")
        given = keras_private.loss_given(model)
        reductions = {
            _reduction(loss)
            for loss in keras.tree.flatten(given)
            if loss is not None
        }
        if len(reductions) > 1:
            raise refused("means and sums at once")
        self._model = model
        self._mean = reductions != {"sum"}

    def part(
        self, outputs: list[tf.Tensor], loss: tf.Tensor, share: tf.Tensor
    ) -> tf.Tensor:
        """What a microbatch adds to the loss of the batch.

        Called in the scope in which its outputs and its loss were computed.

        Args:
            outputs: Of the model, for the microbatch.
            loss: What `compute_loss` made of them.
            share: The microbatch's part of the examples.
        """
        share = tf.cast(share, loss.dtype)
        if self._mean:
            if any(keras_private.mask_of(t) is not None for t in outputs):
                raise refused("outputs with a mask")
            return loss * share
        weights = [tf.cast(x, loss.dtype) for x in self._model.losses]
        return loss - (1 - share) * tf.add_n(weights) if weights else loss


def is_mean(model: keras.Model) -> bool:
    """Whether each loss of a model is a mean over the examples.

    One that nobody can tell of, for it is made otherwise, counts as a mean.
    """
    return all(
        getattr(keras.losses.get(loss), "reduction", _MEANS[0]) in _MEANS
        for loss in keras.tree.flatten(keras_private.loss_given(model))
        if loss is not None
    )


def _reduction(loss: Any) -> str:
    """`"mean"` or `"sum"`."""
    loss = keras.losses.get(loss)
    if not isinstance(loss, keras.losses.Loss):
        return "mean"  # Keras makes a mean of a function
    if type(loss).__call__ is not keras.losses.Loss.__call__:
        raise refused(f"{type(loss).__name__} with a __call__ of its own")
    if loss.reduction in _MEANS:
        return "mean"
    if loss.reduction != "sum":
        raise refused(f"reduction={loss.reduction!r}")
    return "sum"


def refused(received: str) -> ProtocolError:
    """The error for a loss that is not made of those of microbatches."""
    return ProtocolError(
        "Expected a loss that is a mean or a sum over the examples, for a "
        f"batch that travels in microbatches. Received: {received}. Train "
        "with SplitStrategy(..., microbatches=1).",
        "microbatches",
    )
