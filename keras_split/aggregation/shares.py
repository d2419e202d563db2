"""How many examples of a step each phone gives, drawn fairly."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_MOST = 10**9  # numpy draws from fewer


def draw(
    left: Sequence[int],
    batch: int,
    rng: np.random.Generator,
    capacity: Sequence[int] = (),
    phones_per_step: int | None = None,
) -> np.ndarray[Any, Any]:
    """How many examples of a step each phone gives.

    A batch that is drawn from the pooled data without replacement has a
    multivariate hypergeometric number of examples of each phone, whatever
    their labels are: with these numbers every step is a step of the pooled
    data, and over an epoch each example is in one of them, once (GPSL,
    arXiv 2407.15738).

    Where only some phones may take part, they are drawn first, without
    replacement, each with a weight of what it has left. Where one is drawn
    for more than it can take, others give the rest.

    Args:
        left: Examples that each phone has left in this epoch, shape
            `(phones,)`.
        batch: Examples of the step.
        rng: Draws.
        capacity: The most that each can give, shape `(phones,)`, 0 for any
            number; all can give any if it is empty.
        phones_per_step: At most so many phones give any; None for all.

    Returns:
        Shape `(phones,)`, int64, `0 <= counts <= left`. Their sum is `batch`,
        or less if those that take part have, or can take, no more.

    Example:
    >>> draw([10, 0, 30], 40, np.random.default_rng(0)).tolist()
    [10, 0, 30]
    """
    rest = np.array(left, np.int64)
    taking = np.flatnonzero(rest)
    if phones_per_step is not None and len(taking) > phones_per_step:
        weights = rest[taking] / rest[taking].sum()
        taking = np.sort(rng.choice(taking, phones_per_step, False, weights))
    room = np.zeros_like(rest)
    room[taking] = rest[taking]
    if len(capacity):
        limits = np.array(capacity, np.int64)
        room = np.where(limits > 0, np.minimum(room, limits), room)
    counts = np.zeros_like(rest)
    while (wanted := min(batch, room.sum()) - counts.sum()) > 0:
        open_ = taking[counts[taking] < room[taking]]
        drawn = _hypergeometric(rest[open_] - counts[open_], wanted, rng)
        counts[open_] = np.minimum(counts[open_] + drawn, room[open_])
    return counts


def _hypergeometric(
    left: np.ndarray[Any, Any], count: int, rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    """So many drawn without replacement; proportions hold beyond `_MOST`."""
    parts = -(-int(left.sum()) // (_MOST - 1 - len(left)))
    fewer = -(-left // max(parts, 1))
    drawn: np.ndarray[Any, Any] = rng.multivariate_hypergeometric(
        fewer, min(count, int(fewer.sum())), method="marginals"
    )
    return np.asarray(np.minimum(drawn, left))
