"""Early stopping of both halves, which a resumed training goes on with."""

import json
import os
import re
from pathlib import Path
from typing import Any

import keras

from keras_split.client import snapshots
from keras_split.errors import DataError
from keras_split_cli.patience import Patience

MONITOR = "val_loss"
_LOSSES = "early-stopping.json"
_NAME = re.compile(r"best-(\d{6})\.weights\.h5")


class EarlyStopping(keras.callbacks.Callback):
    """Stops when the validation loss no longer falls; the best epoch stays.

    Keras' own keeps the best weights in memory, where a training that is
    killed loses them. This one has them in a file, with the optimizer, and
    with the tag of the server's snapshot, so both halves come back.

    It stands before `Resume` in the list of callbacks: then a state never
    speaks of an epoch whose loss is not written down.

    Args:
        patience: Epochs without a smaller loss.
        folder: For the states. One that outlives the training also brings
            back the losses.
        done: Epochs that were done before.

    Raises:
        DataError: If the losses of these epochs cannot be read.
    """

    def __init__(self, patience: int, folder: Path, done: int) -> None:
        super().__init__()
        self._folder = folder
        self._losses = _read(folder / _LOSSES, done) if done else []
        self._patience = Patience(patience)
        self._tags: dict[Path, str] = {}  # of the server's snapshots
        for loss in self._losses:
            self._patience.see(loss)
        for path in self._kept():
            if path > self._path(done - 1):  # an epoch that will come again
                path.unlink()

    @property
    def over(self) -> bool:
        """Whether it is time to stop."""
        return self._patience.over

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Takes the loss of an epoch, and keeps both halves if it is best."""
        loss = float((logs or {})[MONITOR])
        best = self._patience.see(loss)
        self._folder.mkdir(parents=True, exist_ok=True)
        if best:
            self._keep(self._path(epoch))
        self._losses.append(loss)
        _write(self._folder / _LOSSES, json.dumps(self._losses))
        if self.over:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Brings the best epoch back, in both halves.

        Raises:
            DataError: If its file is gone.
            RefusedError: If the server has no such snapshot any more.
        """
        best = self._patience.best_epoch
        if best is None or best == len(self._losses) - 1:
            return
        try:
            self.model.load_weights(self._path(best))
        except OSError as error:
            raise DataError(
                f"Expected the best epoch in {self._path(best)}. Received: "
                f"{error}. Start anew in another folder."
            ) from error

    @property
    def best_epoch(self) -> int | None:
        """Number of the epoch that stays, from 1."""
        best = self._patience.best_epoch
        return None if best is None else best + 1

    def _keep(self, path: Path) -> None:
        """Writes the state; of older ones the last stays.

        A training that is killed now may go on before this epoch, where that
        one is the best.
        """
        draft = path.with_name("best-draft.weights.h5")
        model: Any = self.model
        try:
            model.save_weights(draft, overwrite=True)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        self._tags[path] = model.snapshot_tag
        for old in self._kept()[:-2]:
            old.unlink()
            if tag := self._tags.pop(old, ""):
                snapshots.release(model.strategy.session, tag)

    def _kept(self) -> list[Path]:
        """The files of best epochs, the last one last."""
        if not self._folder.is_dir():
            return []
        files = self._folder.iterdir()
        return sorted(path for path in files if _NAME.fullmatch(path.name))

    def _path(self, epoch: int) -> Path:
        return self._folder / f"best-{epoch + 1:06d}.weights.h5"


def _read(path: Path, done: int) -> list[float]:
    try:
        losses = [float(loss) for loss in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"Expected the validation losses of {done} epochs in {path}, to "
            f"go on with --early-stopping. Received: {error}. Go on without "
            "it, or start anew in another folder."
        ) from error
    if len(losses) < done:
        raise DataError(
            f"Expected the validation losses of {done} epochs in {path}. "
            f"Received: {len(losses)}, for some were trained without "
            "--early-stopping. Go on without it, or start anew in another "
            "folder."
        )
    return losses[:done]


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text)
    os.replace(draft, path)
