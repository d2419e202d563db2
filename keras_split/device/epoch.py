"""One epoch of a training on the phone."""

import logging
import math
from collections.abc import Callable

from keras_split.detection import HijackDetector
from keras_split.device import feed
from keras_split.device.averages import Averages
from keras_split.device.averages import Logs
from keras_split.device.batch import Batch
from keras_split.device.description import Description
from keras_split.device.feed import Rate
from keras_split.device.half import PhoneHalf
from keras_split.device.half import Score
from keras_split.errors import ProtocolError
from keras_split.protocol import validation

Listener = Callable[[int, Logs], object]
_LOG = logging.getLogger("keras_split")


class Epoch:
    """Takes steps, and adds up what is logged of them.

    Args:
        half: Of the phone.
        description: Its client.json.
        learning_rate: A number, or a function of `step`; None for that of the
            export.
        on_batch: Called with the number of the batch and the logs so far;
            False stops the epoch.
        detector: Checks the server's gradients; it has begun.

    Attributes:
        stopped: Whether no more steps are wanted.
    """

    def __init__(
        self,
        half: PhoneHalf,
        description: Description,
        learning_rate: Rate | None = None,
        on_batch: Listener | None = None,
        detector: HijackDetector | None = None,
    ) -> None:
        self._half = half
        self._description = description
        self._learning_rate = learning_rate
        self._on_batch = on_batch
        self._detector = detector
        self._averages = Averages(description)
        self._number = 0
        self.stopped = False

    def take(self, batch: Batch) -> bool:
        """Takes a step; one that is not finite is not taken and logged so.

        Returns:
            Whether it was taken.

        Raises:
            RefusedError: If the server refused it.
            TransportError: If the server went away.
            HijackError: If the server is not honest.
        """
        half = self._half
        half.finish()  # or its step has the rate of the one before
        rate = feed.rate(self._learning_rate, half.step, self._description)
        taken = True
        try:
            loss, correct = self._train(batch, rate)
        except ProtocolError as error:
            if error.reason not in validation.NOT_TAKEN:
                raise
            if error.reason == "norm":
                _LOG.warning("%s", error)
            self._averages.add(batch.count, math.nan)
            taken = False
        else:
            self._averages.add(batch.count, loss, correct)
        if self._on_batch is not None:
            heard = self._on_batch(self._number, self.logs())
            self.stopped = heard is False
        self._number += 1
        return taken

    def _train(self, batch: Batch, rate: float) -> Score:
        """One step, checked if it is its turn."""
        half, detector = self._half, self._detector
        kind = "" if detector is None else detector.next()
        if detector is None or not kind:
            return half.train(batch, rate)
        head = half.head(batch)
        return detector.take(kind, head, lambda: half.train(batch, rate))

    def logs(self) -> Logs:
        """`loss`, `accuracy`, ... of all batches so far."""
        return self._averages.logs()
