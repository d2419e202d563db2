"""Moving statistics, which a short training leaves where they began."""

import math
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_split.utils import keras_private

if TYPE_CHECKING:
    from keras_split.models import ClientModel

_SHARE = 0.05  # of what they began with, that does no harm


def warning(
    client: "ClientModel", images: int, batch_size: int, epochs: int
) -> str | None:
    """What to say if validation will be with statistics of no image.

    A network that is right in each batch guesses then, for weeks if need be,
    and nobody sees why.

    Args:
        client: The phone's half, before its training.
        images: To train with.
        batch_size: Images in a step.
        epochs: How often they are gone through.

    Returns:
        A line, or None where the statistics have time to follow, or have
        followed images before.
    """
    steps = epochs * math.ceil(images / batch_size)
    slow = [
        layer.momentum
        for part in (client.head, client.tail)
        if part is not None
        for layer in keras_private.flatten_layers(part)
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.momentum**steps > _SHARE
        and not np.any(layer.moving_mean)
    ]
    if not slow:
        return None
    kept = 100 * max(slow) ** steps
    return (
        f"BatchNormalization has a momentum of {max(slow):g}: after these "
        f"{steps:,} steps its moving statistics, which validation and "
        f"predictions go by, are still {kept:.0f} % what they began with, and "
        "accuracy may be that of guessing. For a short training say "
        "--batchnorm-momentum 0.9 where the halves are made, on both sides."
    )
