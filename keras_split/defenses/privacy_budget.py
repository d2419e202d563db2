"""A Keras callback that counts epsilon."""

import math
from typing import Any

import keras

from keras_split.defenses.accountant import Accountant
from keras_split.defenses.arguments import number
from keras_split.errors import DefenseError
from keras_split.utils import keras_private


class PrivacyBudget(keras.callbacks.Callback):
    """Logs what a training has told of an example, and ends it in time.

    After each epoch `epsilon` is in the logs: of the examples' own rows, see
    `Accountant` for what that says and what not. It is counted from the steps
    that the client's optimizer has taken, earlier calls of `fit` and those
    before a resumption among them, as epochs as long as this one's; an epoch
    must show each example once at most.

    Args:
        limit: No epoch begins that would exceed this epsilon.
        delta: The probability of more.
        secret: As in `Accountant`.
        earlier: How often each example was sent before this `fit`, if that
            cannot be told from the steps: because epochs were shorter.

    Raises:
        DefenseError: When a training begins whose epsilon cannot be said, or
            when it cannot be any more: a step was not taken.
    """

    def __init__(
        self,
        limit: float | None = None,
        delta: float = 1e-5,
        secret: str = "examples",
        earlier: int | None = None,
        augmented: bool = False,
    ) -> None:
        super().__init__()
        if limit is not None:
            limit = number("limit", limit, 0, 1e6, "of epsilon", 8.0)
        self.limit = limit
        self.delta = number("delta", delta, 1e-30, 0.5, "in probability", 1e-5)
        self.secret = secret
        self.earlier = earlier
        self.augmented = augmented
        self._begun = 0
        self._client: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Refuses a training whose epsilon cannot be said."""
        client: Any = self.model
        if isinstance(client.optimizer, keras.optimizers.LossScaleOptimizer):
            raise DefenseError(
                "Expected an optimizer that takes every step. Received: a "
                "LossScaleOptimizer, which skips some; the next draws the "
                "same noise for other examples, and that has no epsilon. "
                "Train in float32 or bfloat16."
            )
        if self.params.get("steps") is None:
            raise DefenseError(
                "Expected data whose number of steps is known, to count how "
                "often an example is sent. Received: data without it. Give "
                "fit steps_per_epoch."
            )
        self._accountant = Accountant(client, self.secret, self.augmented)
        taken = int(keras_private.steps_taken(client.optimizer))
        begun = self._begun
        self._begun = math.ceil(taken / self.params["steps"])
        if self.earlier is not None:
            # What it has counted itself is not in what it was told.
            before = begun if self._client is client else 0
            self._begun = max(self.earlier, before)
        self._client = client
        if self._is_spent():
            raise DefenseError(
                f"Expected a limit that one more epoch does not exceed. "
                f"Received: limit={self.limit:g}, and epsilon "
                f"{self._epsilon(self._begun + 1):.4g} at delta "
                f"{self.delta:g}. Add noise, or raise the limit."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Refuses what other callbacks will send beside the steps."""
        self._accountant.check()
        self._begun += 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends a training whose next step would draw the same noise."""
        self._accountant.check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs epsilon, and ends the training before it is too much."""
        if logs is not None:
            logs["epsilon"] = self._epsilon(self._begun)
        if self._is_spent():
            self.model.stop_training = True

    def _is_spent(self) -> bool:
        if self.limit is None:
            return False
        return self._epsilon(self._begun + 1) > self.limit

    def _epsilon(self, epochs: int) -> float:
        return self._accountant.epsilon(epochs, self.delta)
