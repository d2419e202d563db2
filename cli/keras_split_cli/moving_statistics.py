"""Moving statistics, which a short training leaves where they began."""

import math
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_split.utils import keras_private
from keras_split.utils.counted import counted

if TYPE_CHECKING:
    from keras_split.models import ClientModel

_SHARE = 0.05  # of what they began with, that does no harm
_LEAST = 0.5  # below, statistics are those of the last batches alone


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
    each = math.ceil(images / batch_size)
    steps = epochs * each
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
    momentum = max(slow)
    kept = 100 * momentum**steps
    return (
        f"BatchNormalization has a momentum of {momentum:g}: after these "
        f"{steps:,} steps its moving statistics, which validation and "
        f"predictions go by, are still {kept:.0f} % what they began with, and "
        f"accuracy may be that of guessing. {_advice(momentum, steps, each)}"
    )


def _advice(momentum: float, steps: int, each: int) -> str:
    """More epochs, or the largest round momentum that has followed by then.

    Args:
        momentum: Of the slowest layer.
        steps: Of the training.
        each: Steps of an epoch.
    """
    ways = []
    if momentum < 1:
        enough = math.ceil(math.log(_SHARE) / math.log(momentum))
        ways.append(
            f"train {counted(enough, 'step')} or more, which is --epochs "
            f"{math.ceil(enough / each)} with these images"
        )
    follows = min(0.9, math.floor(10 * _SHARE ** (1 / steps)) / 10)
    if follows >= _LEAST:
        ways.append(
            f"make both halves anew with --batchnorm-momentum {follows:g}, "
            "the same for keras-split serve and for keras-split train"
        )
    text = "; or ".join(ways) or "train for more epochs, with more images"
    return f"{text[0].upper()}{text[1:]}."
