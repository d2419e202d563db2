"""Which phones train in a round."""

import secrets
from collections.abc import Collection
from collections.abc import Mapping
from typing import Any

import numpy as np


class Draws:
    """Draws some of the phones for each round, all of them equally often.

    Those that have trained in the fewest rounds come first, and among these
    it is chance: everybody has trained once before anybody trains twice.

    Args:
        seed: Of the chance; None for another one each time.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = secrets.randbits(32) if seed is None else seed
        self._counts: dict[int, int] = {}

    def came(self, member: int, there: Collection[int] = ()) -> None:
        """One is there; it need not catch up with rounds before its time.

        Args:
            member: Which.
            there: All that are: who is new begins with as many rounds as the
                one of these that has the fewest.
        """
        known = (self._counts[m] for m in there if m in self._counts)
        self._counts.setdefault(member, min(known, default=0))

    def forget_but(self, members: Collection[int]) -> None:
        """Forgets those that are in the cohort no more."""
        if len(self._counts) > len(members):
            self._counts = {
                m: n for m, n in self._counts.items() if m in members
            }

    def draw(
        self, round: int, members: Collection[int], count: int | None
    ) -> list[int]:
        """Who trains in a round.

        Args:
            round: Its number; the same draw comes out for it again.
            members: Who can.
            count: How many are to; None for all.

        Returns:
            Their numbers, in order.
        """
        for member in members:
            self.came(member, members)
        drawn = list(
            np.random.default_rng([self._seed, round])
            .permutation(sorted(members))
            .tolist()
        )
        drawn.sort(key=self._counts.__getitem__)  # stable, so still by chance
        drawn = sorted(drawn[:count])
        for member in drawn:
            self._counts[member] += 1
        return drawn

    def state(self) -> dict[str, Any]:
        """Plain values, from which another server goes on."""
        counts = {str(member): n for member, n in self._counts.items()}
        return {"seed": self._seed, "counts": counts}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self._seed = state["seed"]
        counts: Mapping[str, int] = state["counts"]
        self._counts = {int(member): n for member, n in counts.items()}
