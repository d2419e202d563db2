"""What the arguments of defenses have to be."""

import math
from collections.abc import Sequence
from typing import Any

from keras_split.errors import DefenseError

SENT = ("smashed", "features_grad")


def places(where: str | Sequence[str]) -> tuple[str, ...]:
    """Which tensors a defense is for.

    Raises:
        DefenseError: If the phone sends none of that name.
    """
    found = (where,) if isinstance(where, str) else tuple(where)
    if not found or not set(found) <= set(SENT):
        raise DefenseError(
            f"Expected where to be one of {', '.join(SENT)}, or both. "
            f"Received: where={where!r}. The phone sends nothing else."
        )
    return found


def number(
    name: str, value: Any, low: float, high: float, unit: str, example: float
) -> float:
    """An argument as a float.

    Args:
        name: Its name.
        value: What was given.
        low: The smallest that makes sense.
        high: The largest.
        unit: In what it is measured.
        example: One to try.

    Raises:
        DefenseError: If it is none, or out of bounds.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not low <= found <= high:
        raise DefenseError(
            f"Expected a {name} from {low:g} to {high:g} {unit}. Received: "
            f"{name}={value!r}. Try {example:g}."
        )
    return found
