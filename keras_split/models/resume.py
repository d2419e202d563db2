"""A training that goes on after the death of the client."""

import os
import re
import warnings
from pathlib import Path
from typing import Any

import keras

from keras_split.client import snapshots
from keras_split.errors import DataError
from keras_split.errors import SplitError
from keras_split.utils import keras_private

_NAME = re.compile(r"epoch-(\d{6})\.weights\.h5")


class Resume(keras.callbacks.Callback):
    """Keeps the state of both halves after each epoch, and starts from it.

    Like `keras.callbacks.BackupAndRestore`, which works as well, but a state
    is one file that is whole or not there, whenever the process dies: the
    weights, the optimizer and the number of the epoch cannot disagree. The
    server keeps a snapshot of its half for it; start it with `--checkpoints`
    or `--snapshots` so that this outlives it, too.

    To see the same batches as a training that was not interrupted, the data
    must have an order for each epoch, such as `shuffle=False` gives.

    Args:
        folder: Where states are kept; one training, one folder.

    Attributes:
        epoch: Number of the epoch that the training began with.

    Raises:
        DataError: If a state is there that cannot be read, or is of another
            model or optimizer.
        RefusedError: If the server does not have the snapshot any more.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.epoch = 0
        self._tag = ""

    @property
    def done(self) -> int:
        """How many epochs the last state is of; 0 if there is none."""
        found = self._found()
        return found[-1][0] if found else 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Brings back the last state, if there is one."""
        found = self._found()
        if not found:
            return
        number, path = found[-1]
        model: Any = self.model
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        try:
            with warnings.catch_warnings():
                # All that Keras does where the optimizer is another one.
                warnings.filterwarnings("error", "Skipping variable loading")
                model.load_weights(path)
        except SplitError:
            raise
        except (UserWarning, ValueError) as error:
            raise DataError(
                f"Expected the state in {path} to be of this model and of its "
                f"optimizer. Received: {type(model.optimizer).__name__}, and "
                f"from Keras: {' '.join(str(error).split())} Go on with what "
                "it was written with, or start anew in another folder."
            ) from error
        except (OSError, KeyError) as error:
            raise DataError(
                f"Expected the state of a training in {path}. Received: a "
                f"file that cannot be read ({error}). Delete it to start "
                "anew, or put a copy there."
            ) from error
        self._tag = model.snapshot_tag
        self.epoch = number
        keras_private.set_initial_epoch(model, number)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Writes a state, and forgets the one before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        model: Any = self.model
        path = self.folder / f"epoch-{epoch + 1:06d}.weights.h5"
        draft = self.folder / "draft.weights.h5"
        try:
            model.save_weights(draft, overwrite=True)
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        for _, old in self._found()[:-1]:
            old.unlink()
        if self._tag:
            snapshots.release(model.strategy.session, self._tag)
        self._tag = model.snapshot_tag

    def _found(self) -> list[tuple[int, Path]]:
        if not self.folder.is_dir():
            return []
        matches = [(_NAME.fullmatch(p.name), p) for p in self.folder.iterdir()]
        return sorted((int(m[1]), path) for m, path in matches if m)
