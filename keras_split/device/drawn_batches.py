"""Training with the share of each step that the server draws for a phone."""

import logging
from collections.abc import Iterator

from keras_split.client.cohort import CohortClient
from keras_split.client.rounds import Rounds
from keras_split.device.batch import Batch
from keras_split.device.epoch import Epoch
from keras_split.device.rows import Rows
from keras_split.errors import RefusedError
from keras_split.protocol.cohort_messages import Share

_LOG = logging.getLogger("keras_split")


class DrawnBatches:
    """The server says how many examples of each step are this phone's.

    An epoch goes on until all phones have seen all of their examples, or do
    not want any more.

    Args:
        cohort: Speaks with the others.
        rounds: Average weights.
        every: Steps of the cohort from one averaging to the next; 0 for an
            epoch.
        size: Rows that the .tflite wants.
        examples: Of an epoch.
    """

    def __init__(
        self,
        cohort: CohortClient,
        rounds: Rounds,
        every: int,
        size: int,
        examples: int,
    ) -> None:
        self._cohort = cohort
        self._rounds = rounds
        self._every = every
        self._size = size
        self._examples = examples
        self._warned = False

    def epoch(
        self, number: int, batches: Iterator[Batch], epoch: Epoch
    ) -> None:
        """See `OwnBatches`."""
        rows = Rows(batches, self._size, self._examples)
        while True:
            self._rounds.begin()
            left = 0 if epoch.stopped else rows.left()
            share = self._cohort.share(left, number)
            if share.step < 0:
                break
            if share.count and not epoch.stopped:
                self._train(share, rows, epoch)
            if self._every and (share.step + 1) % self._every == 0:
                self._rounds.end()
        self._rounds.end()

    def _train(self, share: Share, rows: Rows, epoch: Epoch) -> None:
        batch = rows.take(share.count)
        found = 0 if batch is None else batch.count
        if found < share.count and not self._warned:
            self._warned = True
            _LOG.warning(
                "The server drew %d examples where %d are left: an epoch has "
                "fewer than it seemed to. Say how many there are: "
                "FederatedAveraging(examples=...).",
                share.count,
                found,
            )
        if batch is None:
            return
        try:
            taken = epoch.take(batch)
        except RefusedError as error:
            if error.reason != "late":
                raise
            # Neither half has moved: its examples are in a later step.
            rows.put_back(batch)
            _LOG.warning(
                "Step %d went on without this phone: %s", share.step, error
            )
            return
        if taken:
            self._rounds.trained(batch.count)
