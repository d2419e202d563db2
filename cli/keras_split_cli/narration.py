"""What a training by Keras prints: bars to stderr, a line an epoch to stdout.

Keras' own bar goes to stdout, among the results.
"""

from typing import Any

import keras

from keras_split.device.averages import line
from keras_split_cli.console import tell
from keras_split_cli.federation_options import Federation
from keras_split_cli.federation_options import who
from keras_split_cli.progress_bar import ProgressBar


class Narration(keras.callbacks.Callback):
    """Shows the progress of `fit`, and prints the logs of each epoch.

    Args:
        federation: How the phone trains one model with others, if it does.
    """

    def __init__(self, federation: Federation | None = None) -> None:
        super().__init__()
        self._bar: ProgressBar | None = None
        self._federation = federation
        self._epoch = ""

    def on_train_begin(self, logs: Any = None) -> None:
        """Says with whom it trains."""
        model: Any = self.model
        info = model.strategy.session.connection.cohort
        if self._federation is not None and info is not None:
            tell(who(info, self._federation))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts a bar."""
        self._epoch = text = f"Epoch {epoch + 1}"
        if self._federation is not None:
            text += ", waiting for the other phones"
        self._show(text, self.params.get("steps"))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves it."""
        if self._bar is not None:
            self._bar.text = self._epoch
            self._bar.advance(batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """Starts one for the validation."""
        self._show("Validation", None)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves it."""
        if self._bar is not None:
            self._bar.advance(batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Prints a line."""
        self.stop()
        tell(
            f"Epoch {epoch + 1}/{self.params['epochs']}: {line(_sorted(logs))}"
        )

    def stop(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.__exit__()
        self._bar = None

    def _show(self, text: str, total: int | None) -> None:
        self.stop()
        self._bar = ProgressBar(text, total)
        self._bar.__enter__()


def _sorted(logs: dict[str, float]) -> dict[str, float]:
    """Training before validation, and of each the loss before the metrics."""

    def place(name: str) -> tuple[bool, bool]:
        return name.startswith("val_"), not name.endswith("loss")

    return {name: logs[name] for name in sorted(logs, key=place)}
