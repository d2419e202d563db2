"""How long something took, over and over."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """How long something took each time, counted by bounds.

    Attributes:
        bounds_s: Upper bounds in seconds, rising.
        counts: How many took so long, for each bound; of the first bound that
            is not below. The last is of those above all bounds.
        total_s: Seconds of all together.

    Example:
    >>> times = Times((0.1, 1.0), (6, 2, 0), 1.2)
    >>> times.count, times.mean_s, times.within_s(1.0)
    (8, 0.15, 1.0)
    """

    bounds_s: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    total_s: float = 0.0

    @property
    def count(self) -> int:
        """How often it happened."""
        return sum(self.counts)

    @property
    def mean_s(self) -> float | None:
        """Seconds on average; None if it never happened."""
        return self.total_s / self.count if self.count else None

    def within_s(self, share: float) -> float | None:
        """Seconds within which a share of them was done, about.

        Between two bounds they are taken to be evenly spread; those above
        the last one count as if they had taken that long. So does
        Prometheus' `histogram_quantile`.

        Args:
            share: Above 0 and at most 1.

        Returns:
            None if it never happened.
        """
        wanted, below = share * self.count, 0
        if not wanted:
            return None
        lower = 0.0
        for upper, count in zip(self.bounds_s, self.counts, strict=False):
            if below + count >= wanted:
                return lower + (upper - lower) * (wanted - below) / count
            lower, below = upper, below + count
        return lower

    def since(self, before: "Times") -> "Times":
        """Those that were not there before; all, if it was counted anew."""
        counts = [
            now - then
            for now, then in zip(self.counts, before.counts, strict=False)
        ]
        same = self.bounds_s == before.bounds_s
        if not same or not counts or min(counts) < 0:
            return self
        return Times(
            self.bounds_s, tuple(counts), self.total_s - before.total_s
        )
