"""Training with a phone's own batches."""

from collections.abc import Iterator

from keras_split.client.rounds import Rounds
from keras_split.device.batch import Batch
from keras_split.device.epoch import Epoch


class OwnBatches:
    """Each batch is a step, and the half is this phone's own."""

    def epoch(
        self, number: int, batches: Iterator[Batch], epoch: Epoch
    ) -> None:
        """Takes the steps of an epoch.

        Args:
            number: Of the epoch, from 0.
            batches: Of the epoch.
            epoch: Takes them.
        """
        for batch in batches:
            epoch.take(batch)
            if epoch.stopped:
                return


class InRounds:
    """Each batch is a step; a round is some steps, or an epoch.

    A round ends with the epoch at the latest, so that its validation is of
    the model of all.

    Args:
        rounds: Average weights.
        every: Steps of a round; 0 for an epoch.
    """

    def __init__(self, rounds: Rounds, every: int) -> None:
        self._rounds = rounds
        self._every = every

    def epoch(
        self, number: int, batches: Iterator[Batch], epoch: Epoch
    ) -> None:
        """See `OwnBatches`."""
        rounds = self._rounds
        for batch in batches:
            rounds.begin()
            if epoch.take(batch):
                rounds.trained(batch.count)
            # One that is as long as an epoch may have no steps yet.
            if self._every and rounds.steps == self._every:
                rounds.end()
            if epoch.stopped:
                break
        rounds.end()
