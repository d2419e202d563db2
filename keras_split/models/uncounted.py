"""What a client has sent that no epsilon counts, and why."""

from collections.abc import Sequence
from typing import Any
from weakref import ReferenceType
from weakref import WeakKeyDictionary
from weakref import ref

from keras_split.defenses.arguments import SENT
from keras_split.defenses.chain import Chain
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
SHARED = (
    "defenses of one Chain in two clients, which drew the same noise for the "
    "examples of both"
)

AVERAGED = (
    "a training with other phones, whose averages tell of its examples beside "
    "the steps"
)

# Which link trained with a chain, whose noise goes by the number of the step.
_DREW: "WeakKeyDictionary[Chain, ReferenceType[Any]]" = WeakKeyDictionary()


def begin(client: Any) -> None:
    """A training begins: notes it where noise was drawn before.

    Args:
        client: A `keras_split.ClientModel`.
    """
    chain, link = client.defenses, client._server_link
    if not chain:
        return
    other = _DREW.setdefault(chain, ref(link))()
    if other is not link:
        for known in (link, other):
            if known is not None:
                _note(known.uncounted, SHARED, SENT)
    if link.trained_before and not steps_of(client):
        note(client, BEGUN_AGAIN)


def note(client: Any, why: str, kinds: Sequence[str] = SENT) -> None:
    """Notes that what was sent of some tensors does not tell all.

    Args:
        client: A `keras_split.ClientModel`.
        why: In words; the first reason of a kind stays.
        kinds: `"smashed"` and `"features_grad"`.
    """
    _note(client.uncounted, why, kinds)


def steps_of(client: Any) -> int:
    """How many steps a client's optimizer has taken; 0 without one."""
    optimizer = getattr(client, "optimizer", None)
    return 0 if optimizer is None else int(keras_private.steps_taken(optimizer))


def _note(known: dict[str, str], why: str, kinds: Sequence[str]) -> None:
    for kind in kinds:
        known.setdefault(kind, why)
