"""A progress bar for the batches of an epoch, on stderr."""

from typing import Any

from rich.progress import Progress

from keras_split_cli.console import progress


class ProgressBar:
    """Shows how many batches are done, and the loss; nothing in a file.

    Args:
        text: What is being done.
        total: How many batches.

    Attributes:
        text: The same; shown with the next batch.
    """

    def __init__(self, text: str, total: int | None) -> None:
        self._bar = Progress(
            console=progress,
            transient=True,
            disable=not progress.is_terminal,
        )
        self.text = text
        self._task = self._bar.add_task(text, total=total)

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, number: int, logs: Any = None) -> None:
        """Shows that a batch is done.

        Args:
            number: Of the batch, from 0.
            logs: Of the epoch so far.
        """
        text = self.text
        if logs and "loss" in logs:
            text = f"{text}, loss {logs['loss']:.4f}"
        self._bar.update(self._task, description=text, completed=number + 1)
