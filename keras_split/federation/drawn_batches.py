"""Training with the share of each step that the server draws for a phone."""

import logging
from typing import Any

import numpy as np

from keras_split.client.cohort import CohortClient
from keras_split.client.rounds import Rounds
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.errors import RefusedError
from keras_split.errors import SplitError
from keras_split.federation.gradients import AveragedGradients
from keras_split.federation.rows import Rows
from keras_split.federation.train_function import TrainFunction
from keras_split.federation.train_function import step_function
from keras_split.models import functions
from keras_split.models import uncounted
from keras_split.models.half_vector import HalfVector
from keras_split.protocol.cohort_messages import Share

_LOG = logging.getLogger("keras_split")
_Array = np.ndarray[Any, Any]


class DrawnBatches(TrainFunction):
    """The server says how many examples of each step are this phone's.

    Batches of Keras are put into a row, and taken from it as the server says.
    With the last batch of an epoch it goes on until all phones have seen all
    of their examples.

    Args:
        client: A `keras_split.ClientModel`.
        steps: Batches of an epoch; None if nobody knows.
        cohort: Speaks with the others.
        half: The phone's.
        every: Steps of the cohort from one averaging of weights to the next;
            0 for an epoch. None to average gradients.
        examples: Of an epoch; None if they are to be counted.

    Raises:
        OptionError: If nobody knows how many examples there are.
    """

    def __init__(
        self,
        client: Any,
        steps: int | None,
        cohort: CohortClient,
        half: HalfVector,
        every: int | None,
        examples: int | None,
    ) -> None:
        super().__init__(client, steps)
        if steps is None and examples is None:
            raise OptionError(
                "Expected to know how many examples an epoch has, of which "
                "the server draws the phone's share. Received: data of unknown "
                "length. Say it: FederatedAveraging(examples=...), or fit("
                "steps_per_epoch=...)."
            )
        self._cohort = cohort
        self._every = every
        self._known = examples
        self._rows = Rows()
        self._pending: Share | None = None
        self._over = self._averaging = False
        self._epoch = self._came = self._largest = 0
        self._number = self._count = 0
        self._size = half.weights
        self._rounds = Rounds(cohort, half)
        self._gradients: AveragedGradients | None = None
        step = client.train_step
        if every is None:
            self._gradients = AveragedGradients(client, half, self._average)
            commit = self._gradients.commit

            def step(data: Any) -> Any:
                return client._take_step(data, commit=commit)[0]

        self._take = step_function(client, step, waits_for_others=True)

    def begin_epoch(self, epoch: int) -> None:
        """See `TrainFunction`."""
        super().begin_epoch(epoch)
        self._rows.clear()
        self._pending = None
        self._over = False
        self._epoch, self._came = epoch, 0

    def end_epoch(self) -> None:
        """See `TrainFunction`."""
        if self._over:
            return
        if self._steps in (None, self._seen):
            self._known = self._came  # in the next epoch, too, as a rule
        else:
            self._rows.clear()  # somebody stopped the training
        self._go_on(to_the_end=True)
        self._rounds.end()

    def _trains(self, data: Any) -> None:
        count = self._rows.add(data)
        self._came += count
        self._largest = max(self._largest, count)
        if self._seen != self._steps:
            self._go_on()

    def _go_on(self, *, to_the_end: bool = False) -> None:
        """Takes the steps for which examples are here."""
        while not self._over and (to_the_end or len(self._rows)):
            share = self._pending or self._ask(to_the_end)
            self._pending = None
            if share.step < 0:
                self._over = True
            elif share.count > len(self._rows) and not to_the_end:
                self._pending = share
                return
            else:
                self._step(share)

    def _ask(self, to_the_end: bool) -> Share:
        if self._every is not None:
            self._rounds.begin()
        left = len(self._rows)
        if not to_the_end:
            left += self._to_come()
        return self._cohort.share(left, self._epoch)

    def _to_come(self) -> int:
        """Examples that Keras has yet to bring, or fewer."""
        if self._known is not None:
            return max(self._known - self._came, 0)
        assert self._steps is not None
        batches = self._steps - self._seen
        return (batches - 1) * self._largest + 1  # the last one may be short

    def _step(self, share: Share) -> None:
        count = min(share.count, len(self._rows))
        if share.count and not count:
            raise DataError(
                f"Expected {share.count} more examples in this epoch, as the "
                "ones before had. Received: none. Say how many each has, or "
                "fewer: FederatedAveraging(examples=...)."
            )
        self._number, self._averaging = share.step, False
        if count:
            self._train(count)
        if self._gradients is not None and not self._averaging:
            self._listen()
        if self._every and (share.step + 1) % self._every == 0:
            self._rounds.end()

    def _train(self, count: int) -> None:
        """Trains with the next examples; what was not taken is told."""
        data = self._rows.take(count)
        self._count = count
        try:
            self._take(data)
        except SplitError as error:
            if getattr(error, "reason", "") != "late":
                functions.not_taken(self._client, error)
                return
            uncounted.note(self._client, uncounted.NOT_TAKEN)
            if not self._averaging:  # or the server did train with them
                self._rows.put_back(data)
            _LOG.warning(
                "Step %d went on without this phone: %s", self._number, error
            )
        else:
            self._rounds.trained(count)

    def _listen(self) -> None:
        """Applies what the others average in a step, and adds nothing."""
        assert self._gradients is not None
        try:
            self._gradients.listen()
        except RefusedError as error:
            if error.reason != "late":
                raise  # with the next step the half of the others comes

    def _average(self, change: _Array | None) -> _Array:
        self._averaging = True
        weight = float(self._count)
        if change is None:
            change, weight = np.zeros(self._size, np.float32), 0.0
        return self._cohort.average(self._number, change, weight)
