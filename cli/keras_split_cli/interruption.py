"""Ctrl-C in a training: what was learned so far is kept."""

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING
from typing import Any

import keras

from keras_split.utils.counted import counted
from keras_split_cli import output_file
from keras_split_cli.console import note

if TYPE_CHECKING:
    from keras_split.models import ClientModel

_GRACE_S = 2.0  # for Python to see a second Ctrl-C


class Interruption(keras.callbacks.Callback):
    """Ends a training at the end of a step, when both sides have taken it.

    In the middle of one the server may be a step ahead, or the halves of
    several phones between two averages. A second Ctrl-C does not wait. This
    callback stands last, so that the others have seen the step.

    Args:
        save: File for the phone's half; None for none.
        resume: Folder of the states; None for none.
    """

    def __init__(self, save: str | None, resume: str | None) -> None:
        super().__init__()
        self._save, self._resume = save, resume
        self._asked = self._hurried = self._begun = False
        self._taken = self._steps = self._epochs = 0
        self._over = threading.Event()
        self._before: Any = None
        self._listener: threading.Thread | None = None

    def __enter__(self) -> "Interruption":
        # A job in the background goes on, whatever is pressed.
        hears = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
        if hears and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
            if os.name == "posix":  # Windows has no such pipes
                reads, self._pipe = os.pipe()
                os.set_blocking(self._pipe, False)
                self._listener = threading.Thread(
                    target=self._listen, args=[reads], daemon=True
                )
                self._listener.start()
                self._wakeup = signal.set_wakeup_fd(self._pipe)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._over.set()
        if self._listener is not None:
            signal.set_wakeup_fd(self._wakeup)
            os.close(self._pipe)
            self._listener.join()
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self._hurried and isinstance(error, Exception):
            raise KeyboardInterrupt from error  # as TensorFlow reports it

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Counts, and stops if it is asked for."""
        self._epochs, self._steps = epoch, 0
        self._look()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Likewise, before the step."""
        self._look()
        self._begun = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Likewise, after it."""
        self._steps = batch + 1
        self._taken += 1
        self._look()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Likewise, in a validation."""
        self._look()

    @property
    def whole(self) -> bool:
        """Whether no step was left in its middle."""
        return not self._hurried

    def keep(self, client: "ClientModel") -> str:
        """Saves what was learned, and returns what is to be said of it.

        Raises:
            DataError: If it cannot be written.
        """
        epochs, steps = self._epochs, self._steps
        if steps and steps == self.params.get("steps"):
            epochs, steps = epochs + 1, 0
        if self._hurried:
            return self._unsaved()
        if not self._taken:
            return (
                "Stopped before the first step: nothing was saved."
                f"{self._states()}"
            )
        counts = counted(epochs, "epoch") if epochs else ""
        if steps:
            counts += f"{' and ' * bool(epochs)}{counted(steps, 'step')}"
        if self._save is None:
            return (
                f"Stopped after {counts}. Nothing was saved: --save FILE "
                f"keeps the phone's half.{self._states()}"
            )
        try:
            save_half(client, self._save)
        except KeyboardInterrupt:  # the server may be away
            self._hurried = True
            return (
                f"Stopped after {counts}. {self._save} was not written, for "
                f"the server was still waited for.{self._states()}"
            )
        return (
            f"Stopped after {counts}: saved the phone's half in {self._save}."
            f"{self._states()}"
        )

    def _states(self) -> str:
        if self._resume is None or not self._epochs:
            return ""
        return f" {self._resume} has the state after epoch {self._epochs}."

    def _unsaved(self) -> str:
        return (
            "Stopped in the middle of a step: nothing was saved, for the "
            f"server may have taken it.{self._states()}"
        )

    def _look(self) -> None:
        if self._asked:
            raise KeyboardInterrupt

    def _ask(self, *_: Any) -> None:
        if self._asked or not self._begun:
            self._hurried = self._asked
            raise KeyboardInterrupt
        self._asked = True

    def _listen(self, reads: int) -> None:
        """Hears of signals at once.

        Python sees them when a step of TensorFlow's is over. One may wait
        for minutes, for a server that is away.
        """
        presses = 0
        while got := os.read(reads, 1):
            if got[0] != signal.SIGINT or not self._begun:
                continue
            presses += 1
            if presses == 1:
                note("Stopping after this step. Ctrl-C again stops at once.")
            elif not self._over.wait(_GRACE_S):
                note(self._unsaved())
                sys.stdout.flush()
                os._exit(1)
        os.close(reads)


def save_half(client: "ClientModel", path: str) -> None:
    """Writes the phone's half, whole or not at all.

    Raises:
        DataError: If it cannot be written.
    """
    client.strategy.session.committed()  # the file says of which step it is
    with output_file.draft(path) as draft:
        client.save(draft)
