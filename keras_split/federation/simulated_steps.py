"""Simulated phones whose steps are steps of all: merged, and centralized."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_split.aggregation.shares import draw
from keras_split.federation.pair import Pair
from keras_split.federation.shards import Shards
from keras_split.federation.traffic import Traffic

_Array = np.ndarray[Any, Any]


class SimulatedSteps:
    """Steps over examples of several phones, whose gradients are averaged.

    With gradients that are averaged in every step, weighted by examples, and
    equal halves, a merged step over the batches of all phones is one step of
    one phone that has all of them; so it is simulated as that.

    Args:
        pair: Takes the steps.
        shards: What each phone has.
        traffic: Counts bytes.
        steps: Of a round.
        batch: Examples of a step, of all phones together.
        phones_per_step: At most so many take part in one; None for all.
        seed: Of the draws.
        counted: Whether anything is sent: not by a phone that has it all.
    """

    def __init__(
        self,
        pair: Pair,
        shards: Shards,
        traffic: Traffic,
        *,
        steps: int,
        batch: int,
        phones_per_step: int | None,
        seed: int,
        counted: bool = True,
    ) -> None:
        self._pair, self._shards, self._traffic = pair, shards, traffic
        self._steps, self._batch = steps, batch
        self._most, self._counted = phones_per_step, counted
        self._seed, self._number, self._epoch = seed, 0, 0
        self._size = sum(int(np.prod(v.shape)) for v in pair.half)
        self._orders: list[Any] = []
        self._left = np.zeros(len(shards), np.int64)

    def run(self, number: int) -> int:
        """One round; returns how many steps of a body it took."""
        for _ in range(self._steps):
            self._step()
        return self._steps

    def loss(self) -> float:
        """The mean loss of the round's steps."""
        return self._pair.loss()

    def scores(self, x: Any, y: Any) -> dict[str, float]:
        """Of the model."""
        return self._pair.evaluate(x, y)

    def close(self) -> None:
        """Nothing to let go of."""

    def _step(self) -> None:
        if not self._left.any():
            self._begin_epoch()
        counts = draw(
            self._left.tolist(),
            self._batch,
            np.random.default_rng([self._seed, self._number]),  # the server's
            phones_per_step=self._most,
        )
        self._number += 1
        members = np.flatnonzero(counts)
        taken = np.concatenate(
            [self._take(phone, counts[phone]) for phone in members.tolist()]
        )
        crossed = self._pair.step(*self._shards.rows(taken))
        if self._counted:
            traffic, phones = self._traffic, len(self._shards)
            traffic.shares(phones, len(members))
            traffic.step(crossed, counts[members].tolist(), merged=True)
            # Who was not drawn listens: all apply the same average.
            traffic.average(phones, self._size)

    def _take(self, phone: int, count: int) -> Any:
        left = int(self._left[phone])
        self._left[phone] -= count
        rows = self._orders[phone]
        return rows[len(rows) - left : len(rows) - left + count]

    def _begin_epoch(self) -> None:
        self._orders = [
            order(shard, [self._seed, self._epoch, phone])
            for phone, shard in enumerate(self._shards.phones)
        ]
        self._epoch += 1
        self._left[:] = [len(rows) for rows in self._orders]


def order(positions: _Array, seed: Sequence[int]) -> _Array:
    """The order in which a phone gives its examples in an epoch."""
    return np.random.default_rng(seed).permutation(positions)
