"""What a client has sent that no epsilon counts, and why."""

from collections.abc import Sequence
from typing import Any

from keras_split.defenses.arguments import SENT
from keras_split.utils import keras_private

NOT_TAKEN = (
    "a step that was not taken, so that the next one drew the same noise for "
    "other examples"
)
CHECKED = (
    "a HijackDetector, whose checks send an example with the same noise "
    "several times"
)
BEGUN_AGAIN = (
    "a client that was compiled again after it had trained, so that its steps "
    "drew the noise of the first ones again"
)

AVERAGED = (
    "a training with other phones, whose averages tell of its examples beside "
    "the steps"
)


def note(client: Any, why: str, kinds: Sequence[str] = SENT) -> None:
    """Notes that what was sent of some tensors does not tell all.

    Args:
        client: A `keras_split.ClientModel`.
        why: In words; the first reason of a kind stays.
        kinds: `"smashed"` and `"features_grad"`.
    """
    for kind in kinds:
        client.uncounted.setdefault(kind, why)


def steps_of(client: Any) -> int:
    """How many steps a client's optimizer has taken; 0 without one."""
    optimizer = getattr(client, "optimizer", None)
    return 0 if optimizer is None else int(keras_private.steps_taken(optimizer))
