"""Examples that are no longer than a limit."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_split.defenses import norms
from keras_split.defenses.arguments import number
from keras_split.defenses.arguments import places
from keras_split.defenses.defense import Defense
from keras_split.defenses.defense import register
from keras_split.defenses.key import Key
from keras_split.errors import DefenseError


@register("clip")
class Clip(Defense):
    """Shortens each example that is longer than a limit.

    So no example is louder than others by more than that. A gradient's
    length tells of its label (Li et al., "Label Leakage and Protection in
    Two-party Split Learning", 2022); its direction tells more, and is left.

    For `"features_grad"` the limit is for the gradient of an example's own
    loss: of a loss that is a mean over the batch, the gradient is multiplied
    by the batch's size first.

    The norm is rounded up, by 1.6 % and `2**-11 * sqrt(values)` times the
    largest magnitude at most, so that all runtimes agree on it; examples
    between that and the limit are shortened as well. Gradients of the smashed
    data are those of the clipping, see `keras_split.defenses.norms.clipped`.

    Args:
        limit: The largest norm.
        where: What is clipped: `"smashed"`, `"features_grad"` or both.
        order: 2 for the Euclidean norm, 1 for the sum of magnitudes.

    Raises:
        DefenseError: If one of them is none of that.
    """

    def __init__(
        self,
        limit: float,
        where: str | Sequence[str] = ("smashed",),
        order: int = 2,
    ) -> None:
        self.where = places(where)
        self.limit = number("limit", limit, 1e-6, 1e6, "in norm", 1.0)
        if order not in (1, 2):
            raise DefenseError(
                "Expected an order of 1 or 2. Received: "
                f"order={order!r}. Take 2 for the Euclidean norm."
            )
        self.order = int(order)

    def apply(self, x: tf.Tensor, key: Key, where: str) -> tf.Tensor:
        """`x`, or a part of it that is short enough."""
        size = size_of_mean(key, where)
        return norms.clipped(x, self.limit, self.order, size)

    def get_config(self) -> dict[str, Any]:
        """All arguments."""
        return {
            "limit": self.limit,
            "where": list(self.where),
            "order": self.order,
        }


def size_of_mean(key: Key, where: str) -> Any:
    """What makes of a tensor's rows those of each example's own loss."""
    if where != "features_grad":
        return 1.0
    if key.size is None:
        return tf.cast(tf.shape(key.samples)[0], tf.float32)
    return tf.maximum(key.size, 1.0)
