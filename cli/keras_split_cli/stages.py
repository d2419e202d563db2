"""What an audit is doing: a bar in a terminal, else a line for each stage."""

from rich.progress import BarColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeElapsedColumn

from keras_split_cli.console import note
from keras_split_cli.console import progress


class Stages:
    """Shows what is being done, and which share of the time is over.

    Args:
        minutes: About how long it takes.

    Attributes:
        minutes: The same.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._stage = ""
        self._bar = Progress(
            BarColumn(20),
            TimeElapsedColumn(),
            TextColumn(f"of {minutes:g} min  {{task.description}}"),
            console=progress,
            transient=True,
            disable=not progress.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0)

    def __enter__(self) -> "Stages":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def told(self, stage: str, detail: str, share: float) -> None:
        """Shows it.

        Args:
            stage: What is being done.
            detail: How far that is.
            share: Of the time, 0 to 1.
        """
        if stage != self._stage:
            self._stage = stage
            note(f"{stage} ...")
        self._bar.update(self._task, description=detail, completed=share)
