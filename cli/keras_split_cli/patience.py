"""When a training stops because it has not become better for long."""

import math


class Patience:
    """Counts epochs without a smaller loss.

    Args:
        epochs: After how many of those in a row to stop.

    Attributes:
        best_epoch: Number of the best one so far; None if none had a number.

    Example:
    >>> patience = Patience(2)
    >>> [patience.see(loss) for loss in (0.9, 0.5, 0.6, 0.5)]
    [True, True, False, False]
    >>> patience.over, patience.best_epoch
    (True, 1)
    """

    def __init__(self, epochs: int) -> None:
        self.best_epoch: int | None = None
        self._epochs = epochs
        self._best = math.inf
        self._seen = 0
        self._waited = 0

    def see(self, loss: float) -> bool:
        """Takes the loss of the next epoch; whether it is the best so far."""
        number, self._seen = self._seen, self._seen + 1
        if loss < self._best:  # never true of NaN
            self._best, self.best_epoch, self._waited = loss, number, 0
            return True
        self._waited += 1
        return False

    @property
    def over(self) -> bool:
        """Whether it is time to stop."""
        return self._waited >= self._epochs
