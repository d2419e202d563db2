"""One training of a client, with all that goes on around it."""

import importlib.util
import tempfile
from collections.abc import Callable
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np

from keras_split import datasets
from keras_split.defenses.epsilon import epsilons
from keras_split.defenses.epsilon import sentences
from keras_split.errors import BackendError
from keras_split.federation.averaging import FederatedAveraging
from keras_split.models.hijack_detector import HijackDetector
from keras_split.models.resume import Resume
from keras_split.models.uncounted import steps_of
from keras_split.utils.counted import counted
from keras_split_cli.augmentation import Augmentation
from keras_split_cli.batches import Batches
from keras_split_cli.class_weights import sample_weights
from keras_split_cli.console import tell
from keras_split_cli.data import Data
from keras_split_cli.early_stopping import EarlyStopping
from keras_split_cli.federation_options import Federation
from keras_split_cli.freezing import frozen
from keras_split_cli.interruption import Interruption
from keras_split_cli.label_form import LabelForm
from keras_split_cli.narration import Narration
from keras_split_cli.own_numbers import own_numbers_told
from keras_split_cli.training_options import no_validation
from keras_split_cli.training_options import tell_best

if TYPE_CHECKING:
    from keras_split.models import ClientModel

_Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Fitting:
    """How a client is trained, whatever it is trained with.

    Attributes:
        epochs: How many, those included that were done before.
        batch_size: Examples in a batch.
        seed: Decides the order of the images, and how they change.
        resume: Folder for the state of both halves, if it is kept.
        class_weights: How much each class counts; see `sample_weights`.
        augment: How images change at random; see `Augmentation`.
        freeze: What stays as it is; see `frozen`.
        early_stopping: Epochs without a smaller validation loss after which
            to stop.
        log_dir: Folder for TensorBoard.
        learning_rate: What the user asks for, where that of a state is
            another.
        federation: How it trains one model with other phones, if it does.
        detect_hijack: Whether the server's gradients are checked.
    """

    epochs: int
    batch_size: int
    seed: int
    resume: str | None = None
    class_weights: str | Mapping[str, float] | None = None
    augment: list[tuple[str, float | None]] | None = None
    freeze: str | None = None
    early_stopping: int | None = None
    log_dir: str | None = None
    learning_rate: float | None = None
    federation: Federation | None = None
    detect_hijack: bool = False

    def fit(
        self,
        client: "ClientModel",
        data: Data,
        form: LabelForm,
        shape: tuple[int, ...],
        preprocess: _Function | None,
        stop: Interruption | None = None,
    ) -> int:
        """Trains.

        Args:
            client: The phone's half, compiled.
            data: Images and labels, as they come.
            form: The form in which the loss wants labels.
            shape: Height, width and channels of the images.
            preprocess: Scales images of values from 0 to 255.
            stop: Ends it when somebody wants that.

        Returns:
            How many epochs were trained, which may be fewer than asked for.

        Raises:
            BackendError: If TensorBoard is asked for and is not there.
            DataError: If labels do not fit, or a state cannot be read.
            OptionError: If there is nothing of a name to freeze.
        """
        if self.early_stopping is not None and data.validation is None:
            raise no_validation()
        batches = self._batches(client, data, form, shape, preprocess)
        held_back = self._held_back(client, data, form, shape, preprocess)
        with ExitStack() as stack:
            resume = Resume(self.resume) if self.resume is not None else None
            done = resume.done if resume is not None else 0
            narration = Narration(self.federation)
            stack.callback(narration.stop)
            callbacks: list[keras.callbacks.Callback] = [
                keras.callbacks.LambdaCallback(on_epoch_begin=batches.shuffle)
            ]
            stopping = None
            if self.early_stopping is not None:
                folder = self.resume or stack.enter_context(
                    tempfile.TemporaryDirectory()
                )
                stopping = EarlyStopping(
                    self.early_stopping, Path(folder), done
                )
                callbacks.append(stopping)
            if resume is not None:
                callbacks.append(resume)
            if self.learning_rate is not None:
                callbacks.append(_rate_setter(client, self.learning_rate))
            if self.log_dir is not None:
                callbacks.append(_tensor_board(self.log_dir))
            callbacks.append(narration)
            if self.detect_hijack:  # before the callback that takes its steps
                callbacks.append(HijackDetector())
            if self.federation is not None:
                callbacks.append(
                    _averaging(self.federation, len(data.train[0]))
                )
            if stop is not None:
                callbacks.append(stop)
            stack.enter_context(frozen(client, self.freeze))
            stack.enter_context(own_numbers_told(shape, form.classes))
            over = stopping is not None and stopping.over
            history = client.fit(
                batches,
                epochs=done if over else self.epochs,
                validation_data=held_back,
                shuffle=False,  # Batches has an order of its own
                callbacks=callbacks,
                verbose=0,
            )
        if done:
            were = "was" if min(done, self.epochs) == 1 else "were"
            tell(
                f"{min(done, self.epochs)} of "
                f"{counted(self.epochs, 'epoch')} {were} done before."
            )
        if stopping is not None:
            tell_best(stopping.best_epoch, stopping.over)
        if client.defenses:
            taken = steps_of(client)  # those before it was loaded, too
            shown = max(done + len(history.epoch), -(-taken // len(batches)))
            self._tell_epsilon(client, shown, held_back)
        return len(history.epoch)

    def _tell_epsilon(
        self, client: "ClientModel", epochs: int, held_back: Batches | None
    ) -> None:
        """Prints what differential privacy says of the images."""
        if self.federation is not None:
            tell(
                "No epsilon is said of a training with other phones: what "
                "their averages tell of an image is not counted."
            )
            return
        augmented = self.augment is not None
        found = epsilons(client, epochs, augmented=augmented)
        for line in sentences(found):
            tell(line)
        if held_back is not None and any(one.value for one in found):
            tell("Images that were validated with have no epsilon.")

    def _batches(
        self,
        client: "ClientModel",
        data: Data,
        form: LabelForm,
        shape: tuple[int, ...],
        preprocess: _Function | None,
    ) -> Batches:
        x, y = data.train
        weights = None
        if self.class_weights is not None:
            names = _class_names(client, data)
            weights = sample_weights(self.class_weights, y, names)
        augmentation = None
        if self.augment is not None:
            augmentation = Augmentation(self.augment, x, self.seed)

        def prepare(
            images: np.ndarray[Any, Any], epoch: int, batch: int
        ) -> np.ndarray[Any, Any]:
            if augmentation is not None:
                images = augmentation(images, epoch, batch)
            return images if preprocess is None else preprocess(images)

        return Batches(
            datasets.to_model_input(x, shape),
            form.take(y, _classes(client, data)),
            self.batch_size,
            self.seed,
            weights,
            prepare,
            client.wiring.pack,
        )

    def _held_back(
        self,
        client: "ClientModel",
        data: Data,
        form: LabelForm,
        shape: tuple[int, ...],
        preprocess: _Function | None,
    ) -> Batches | None:
        if data.validation is None:
            return None
        x, y = data.validation
        return Batches(
            datasets.to_model_input(x, shape, preprocess),
            form.take(y, _classes(client, data)),
            self.batch_size,
            None,
            pack=client.wiring.pack,
        )


def _averaging(federation: Federation, examples: int) -> FederatedAveraging:
    """The callback that averages with other phones."""
    return FederatedAveraging(
        federation.every or "epoch",
        federation.optimizer or None,
        federation.batchnorm,
        federation.what,
        federation.require_secure,
        examples,
    )


def _rate_setter(
    client: "ClientModel", rate: float
) -> keras.callbacks.Callback:
    """Sets a rate that is asked for, after a state has brought another."""

    def begin(logs: Any = None) -> None:
        client.optimizer.learning_rate = rate

    return keras.callbacks.LambdaCallback(on_train_begin=begin)


def _tensor_board(folder: str) -> keras.callbacks.Callback:
    if importlib.util.find_spec("tensorboard") is None:
        raise BackendError(
            "Expected the package tensorboard for --log-dir, which writes its "
            "files. It is not installed. Install it with: pip install "
            "tensorboard."
        )
    # The graph of a step is in two places.
    return keras.callbacks.TensorBoard(folder, write_graph=False)


def _class_names(client: "ClientModel", data: Data) -> tuple[str, ...]:
    return data.class_names or client.data_spec.class_names


def _classes(client: "ClientModel", data: Data) -> int:
    return len(_class_names(client, data)) or data.classes
