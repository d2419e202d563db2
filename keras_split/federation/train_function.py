"""What Keras calls for the batches of `fit`, on a phone of a cohort."""

import abc
from collections.abc import Callable
from itertools import islice
from typing import Any

from keras_split.errors import OptionError
from keras_split.models import by_length
from keras_split.models import functions
from keras_split.training import tf_threads


class TrainFunction(abc.ABC):
    """Takes batches from Keras, and steps with them.

    Args:
        client: A `keras_split.ClientModel`.
        steps: Batches of an epoch; None if nobody knows.

    Attributes:
        plain: The function of the client when it is in no cohort.
    """

    def __init__(self, client: Any, steps: int | None) -> None:
        self._client = client
        self._steps = steps
        self._seen = 0
        self.plain = client.train_function

    @abc.abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins; waits for the others where it has to."""
        self._seen = 0

    @abc.abstractmethod
    def end_epoch(self) -> None:
        """Does what belongs to the epoch and is not done yet."""

    @abc.abstractmethod
    def _trains(self, data: Any) -> None:
        """Trains with a batch, or keeps it for later."""

    def __call__(self, iterator: Any) -> Any:
        """Takes the next batches of an iterator; returns logs.

        What belongs to the end of an epoch is done with its last batch, so
        that whoever looks at the model then, callbacks and the validation,
        sees that of the cohort.
        """
        client = self._client
        try:
            found = 0
            for data in islice(iterator, client.steps_per_execution):
                found += 1
                self._seen += 1
                self._trains(data)
            if not found or self._seen == self._steps:
                self.end_epoch()
        except BaseException:
            # The others do not wait for it as long as for a silent one.
            client.strategy.session.connection.hang_up()
            raise
        if not found:
            raise StopIteration
        return client.get_metrics_result()


def step_function(
    client: Any, step: Callable[[Any], Any], *, waits_for_others: bool
) -> Callable[[Any], Any]:
    """Takes a step with one batch that is here.

    Args:
        client: A `keras_split.ClientModel`.
        step: What is to become a graph.
        waits_for_others: Whether other phones are waited for in its middle.

    Raises:
        OptionError: If several phones of one process would wait for each
            other, each with a thread that the next one needs.
    """
    if client.run_eagerly:
        return functions.explained(client, step)
    compiled = functions.explained(client, by_length.of_step(client, step))
    if not waits_for_others:
        return functions.waiting(compiled)
    places = tf_threads.places()

    def take(data: Any) -> Any:
        if not places.acquire(blocking=False):
            raise OptionError(
                "Expected a thread of TensorFlow for each phone of a merged "
                "step, which waits for the others. Received: more phones in "
                "this process than threads. Give each phone a process, or "
                "compile with run_eagerly=True."
            )
        try:
            return compiled(data)
        finally:
            places.release()

    return take
