"""What differential privacy says of a training that is over."""

import math
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_split.defenses.accountant import SECRETS
from keras_split.defenses.accountant import Accountant
from keras_split.errors import DefenseError
from keras_split.utils.counted import counted

DELTA = 1e-5


@dataclass(frozen=True)
class Epsilon:
    """The epsilon of one secret of an example, or why there is none.

    Of the example's own rows; `Accountant` has what that says and what not.

    Attributes:
        secret: `"inputs"`, `"labels"`, or `"examples"` for both.
        epochs: In how many steps an example was.
        delta: The probability of more.
        value: The epsilon; None if there is none.
        refused: Why there is none.
    """

    secret: str
    epochs: int
    delta: float
    value: float | None = None
    refused: str = ""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Epsilon":
        """The inverse of `dataclasses.asdict`."""
        return cls(**config)


def epsilons(
    client: Any, epochs: int, delta: float = DELTA, *, augmented: bool = False
) -> tuple[Epsilon, ...]:
    """Those of each secret, after a training.

    Args:
        client: A client model, as it was trained.
        epochs: In how many training steps each example was, at most.
        delta: The probability of more.
        augmented: As in `Accountant`.

    Returns:
        One for each secret; none at all without a defense.
    """
    if not client.defenses:
        return ()
    return tuple(
        _epsilon(client, one, epochs, delta, augmented) for one in SECRETS
    )


def sentences(found: Sequence[Epsilon]) -> list[str]:
    """The same for people.

    Example:
    >>> for line in sentences([Epsilon("inputs", 3, 1e-5, 2.7)]):
    ...     print(line)
    Epsilon after 3 epochs, at delta 1e-05, of an example's own rows: inputs 2.7
    """
    said = ", ".join(
        f"{one.secret} {one.value:.3g}"
        for one in found
        if one.value is not None
    )
    lines = []
    if said:
        first = found[0]
        lines.append(
            f"Epsilon after {counted(first.epochs, 'epoch')}, at delta "
            f"{first.delta:g}, of an example's own rows: {said}"
        )
    reasons: dict[str, str] = {}
    for one in found:
        if one.value is None and one.secret != "examples":
            what = reasons.get(one.refused)
            reasons[one.refused] = (
                f"{what} and {one.secret}" if what else one.secret.capitalize()
            )
    lines += [f"{what} have no epsilon. {why}" for why, what in reasons.items()]
    return lines


def _epsilon(
    client: Any, secret: str, epochs: int, delta: float, augmented: bool
) -> Epsilon:
    optimizer = getattr(client, "optimizer", None)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return Epsilon(
            *(secret, epochs, delta, None),
            "A LossScaleOptimizer skips steps, and the next draws the same "
            "noise for other examples. Train in float32 or bfloat16.",
        )
    try:
        accountant = Accountant(client, secret, augmented)
        value = accountant.epsilon(epochs, delta)
    except DefenseError as error:
        return Epsilon(secret, epochs, delta, None, str(error))
    if math.isinf(value):
        return Epsilon(
            *(secret, epochs, delta, None),
            f"The noise is too small for a finite one at delta {delta:g}.",
        )
    return Epsilon(secret, epochs, delta, value)
