"""What makes cut-layer tensors smaller, and what is known to come of it."""

from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from keras_split.errors import OptionError

AUTO = "auto"
DEFAULT_LOSS = 0.2
# A coding that rounds more has to save so much of what is to be least.
_WORTH = 0.95
_T = TypeVar("_T")


@dataclass(frozen=True)
class Coding:
    """A quantization by name, as it was measured.

    By `benchmarks/codings.py`, with one network on Fashion-MNIST: a hint for
    another network, and no promise.

    Attributes:
        name: What `keras_split.compile(quantization=...)` takes.
        points: Of accuracy that it cost beside float32, in percent.
        ratio: What its lossless codec leaves of the bytes.
    """

    name: str
    points: float
    ratio: float = 1.0


CODINGS = (
    Coding("float32", 0.0),
    Coding("int8", 0.05),
    Coding("balanced", 0.17, 0.48),
    Coding("small", 0.17, 0.61),
    Coding("tiny", 0.93, 0.72),
)


def ratio(name: str) -> float:
    """What a codec leaves of the bytes, where that was measured, or 1."""
    return next((c.ratio for c in CODINGS if c.name == name), 1.0)


def within(max_loss: float) -> tuple[Coding, ...]:
    """The codings that cost no more accuracy, from the gentlest on.

    float32 is among them only where nothing else is.

    Args:
        max_loss: Points of accuracy.

    Raises:
        OptionError: If it is below 0.

    Example:
    >>> [coding.name for coding in within(0.2)]
    ['int8', 'balanced', 'small']
    """
    if not max_loss >= 0:
        raise OptionError(
            "Expected max_loss of 0 or more, points of accuracy. Received: "
            f"{max_loss!r}. Try {DEFAULT_LOSS}."
        )
    found = tuple(c for c in CODINGS if c.points <= max_loss)
    return found[1:] or found


def gentlest(options: Iterable[_T], cost: Callable[[_T], float]) -> _T:
    """The best of several, where a later one has to be worth it.

    Args:
        options: From the gentlest on.
        cost: What is to be least.
    """
    first, *others = options
    best = first
    for other in others:
        if cost(other) < _WORTH * cost(best):
            best = other
    return best
