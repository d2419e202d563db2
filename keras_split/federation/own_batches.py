"""Training with a phone's own batches, in rounds."""

from typing import Any

from keras_split.client.rounds import Rounds
from keras_split.errors import SplitError
from keras_split.federation.rows import rows_of
from keras_split.federation.train_function import TrainFunction
from keras_split.federation.train_function import step_function
from keras_split.models import functions


class OwnBatches(TrainFunction):
    """Each batch of Keras is a step; a round is some steps, or an epoch.

    A round ends with the epoch at the latest, so that its validation is of
    the model of all.

    Args:
        client: A `keras_split.ClientModel`.
        steps: Batches of an epoch; None if nobody knows.
        rounds: Average weights.
        every: Steps of a round; 0 for an epoch.
    """

    def __init__(
        self, client: Any, steps: int | None, rounds: Rounds, every: int
    ) -> None:
        super().__init__(client, steps)
        self._rounds = rounds
        self._every = every
        # Of a `keras_split.HijackDetector`, which checks some of the steps.
        take = getattr(client.train_function, "take", None)
        self._take: Any = take or step_function(
            client, client.train_step, waits_for_others=False
        )

    def begin_epoch(self, epoch: int) -> None:
        """See `TrainFunction`."""
        super().begin_epoch(epoch)
        self._rounds.begin()

    def end_epoch(self) -> None:
        """See `TrainFunction`."""
        self._rounds.end()

    def _trains(self, data: Any) -> None:
        self._rounds.begin()
        try:
            self._take(functions.bare(data))
        except SplitError as error:
            functions.not_taken(self._client, error)
        else:
            self._rounds.trained(rows_of(data))
        # One that is as long as an epoch may have no steps yet.
        if self._every and self._rounds.steps == self._every:
            self._rounds.end()
