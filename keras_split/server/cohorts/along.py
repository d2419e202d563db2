"""What else belongs to the rounds of a cohort."""

from collections.abc import Iterable

from keras_split.server.cohorts.aggregation import Average


class Along:
    """What else belongs to a round; this is nothing."""

    def begun(self, members: Iterable[int]) -> None:
        """Phones are about to begin a round; within a turn."""

    def ended(self, average: Average) -> None:
        """The halves of a round have become one; within a turn."""

    def written(self) -> None:
        """What has changed is kept, and nobody was told yet."""
