"""Numbers that are not finite, for JSON, which has none of them."""

import math
from typing import Any


def or_none(value: Any) -> Any:
    """The value; None for NaN and infinities.

    Example:
    >>> [or_none(value) for value in (0.5, float("nan"), "inf")]
    [0.5, None, 'inf']
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
