"""The phone's half: fit, evaluate and predict with LiteRT alone."""

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from keras_split.client import snapshots
from keras_split.client.retry import Retry
from keras_split.client.session import ClientSession
from keras_split.detection import HijackDetector
from keras_split.device import feed
from keras_split.device import half
from keras_split.device.averages import Averages
from keras_split.device.averages import Logs
from keras_split.device.averages import line
from keras_split.device.averaging import FederatedAveraging
from keras_split.device.batch import Batch
from keras_split.device.clock import Clock
from keras_split.device.clock import Lap
from keras_split.device.described import Described
from keras_split.device.description import Description
from keras_split.device.epoch import Epoch
from keras_split.device.epoch import Listener
from keras_split.device.federating import training_of
from keras_split.device.feed import Batches
from keras_split.device.feed import Rate
from keras_split.device.half import PhoneHalf
from keras_split.device.model import Model
from keras_split.device.state import State
from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.moment import Moment
from keras_split.transports import Factory
from keras_split.transports import Route
from keras_split.transports import Transport

_RETRY = Retry()


class Client(Described):
    """Trains head and tail of a `client.tflite`; a server has the body.

    It follows the rules of the Keras client: a step that fails or is refused
    moves nothing on the phone, a step whose loss is not finite is not taken
    and is logged as NaN, a lost connection is opened again and no step taken
    twice, and an interrupted step is finished by the next. A client is for
    one thread.

    Args:
        path: The .tflite that `client.export` wrote, with its .json beside it.
        address: `"grpc://host:port"` of `keras-split serve`, or
            `"grpcs://host:port"` for TLS, or of another scheme that
            `keras_split.transports.register` knows.
        transport: Instead of an address: a `keras_split.transports.Transport`,
            or what makes one from a `Route` and a `Contract`.
        num_threads: Threads of one operation; LiteRT's choice if not given.
        credentials: Certificates and token, for a server that asks for them.
        retry: How long to try when the server does not answer; None to give
            up at once.
        connect_timeout_s: How long to wait for the server to be there.
        reply_timeout_s: How long to wait for each reply.

    Attributes:
        description: What client.json says.
        session: Speaks with the server.

    Raises:
        DataError: If a file is missing or damaged, or the two do not belong
            together.
        BackendError: If ai-edge-litert is not installed.
        ValueError: If the address is not of that form, or there is none.

    Example:
        with Client("client.tflite", "grpc://10.0.0.2:50051") as client:
            data = batches(x, y, client.batch_size)
            history = client.fit(data, epochs=3)
            client.save_state("state.npz")
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        address: str | None = None,
        *,
        transport: Transport | Factory | None = None,
        num_threads: int | None = None,
        credentials: Credentials | None = None,
        retry: Retry | None = _RETRY,
        connect_timeout_s: float = 10.0,
        reply_timeout_s: float = 600.0,
    ) -> None:
        self.path = Path(path)
        route = Route.to(
            address,
            transport=transport,
            credentials=credentials,
            connect_timeout_s=connect_timeout_s,
            reply_timeout_s=reply_timeout_s,
        )
        if route.local:
            raise ValueError(
                "Expected the address of a server, such as "
                "'grpc://10.0.0.2:50051', or a transport. Received: neither."
            )
        self.session = ClientSession(route, retry=retry)
        self.description = Description.read(path)
        self.session.connection.moment = self.description.moment
        self._tags: dict[str, str] = {}  # of the files written so far
        self._clock = Clock()
        self._model = Model(path, self.description, num_threads, self._clock)
        self._half = PhoneHalf(
            self._model, self.description, self.session, self._clock
        )

    # -- Keras' methods ----------------------------------------------------

    def fit(
        self,
        batches: Batches,
        epochs: int = 1,
        *,
        learning_rate: Rate | None = None,
        validation: Batches | None = None,
        on_batch: Listener | None = None,
        on_epoch: Listener | None = None,
        federate: FederatedAveraging | None = None,
        detector: HijackDetector | None = None,
        verbose: bool = True,
    ) -> dict[str, list[float]]:
        """Trains for some epochs.

        Args:
            batches: Gives `(x, y)` or `(x, y, sample_weight)` of 1 to
                `batch_size` examples. It is gone through once an epoch, so a
                list, `keras_split.device.batches(...)` or a function that
                returns an iterator; a generator lasts one epoch. `x` and `y`
                are arrays, or lists, tuples or dicts of them, as in Keras.
            epochs: How many.
            learning_rate: A number, or a function of `step`; by default the
                one the model was exported with.
            validation: Batches like these, for `val_loss` and the like.
            on_batch: Called with the number of the batch in its epoch and
                the logs of the epoch so far; False ends the training.
            on_epoch: Called with the number of the epoch and its logs; False
                ends the training.
            federate: How halves become one, where this phone trains one model
                with others; the server then has a cohort.
            detector: Checks the server's gradients now and then.
            verbose: Whether a line is printed for each epoch.

        Returns:
            What `History.history` holds: `loss`, `accuracy`, `val_loss`, ...
            to one number an epoch. Outputs without a cross-entropy have no
            accuracy; with several outputs it is `NAME_accuracy`.

        Raises:
            DataError: If the file is for inference, a batch does not fit, or
                there are no batches. Steps before it stay.
            RefusedError: If the server refused the session or a step.
            TransportError: If the server is not there, or went away.
            ProtocolError: If the learning rate is none.
            OptionError: If `federate` does not fit the server's cohort, or
                `detector` the steps.
            HijackError: If the server is not honest.
        """
        self._model.check_trains()
        if not isinstance(epochs, int):
            raise DataError(
                "Expected fit(batches, epochs). Received: epochs of type "
                f"{type(epochs).__name__}. For arrays call fit(keras_split."
                "device.batches(x, y, client.batch_size), epochs=3)."
            )
        self.connect()
        self._half.finish()
        about = self.description
        if detector is not None:
            trains = not about.frozen_head
            detector.begin(self.session, about.contract, head_trains=trains)
        history: dict[str, list[float]] = {}
        with training_of(
            federate, self.session, self._model, about, batches
        ) as training:
            for epoch in range(epochs):
                began = time.perf_counter()
                taking = Epoch(
                    self._half, about, learning_rate, on_batch, detector
                )
                training.epoch(
                    epoch, self._batches(batches, f"epoch {epoch + 1}"), taking
                )
                logs = taking.logs()
                if validation is not None:
                    logs |= {
                        f"val_{name}": value
                        for name, value in self.evaluate(validation).items()
                    }
                for name, value in logs.items():
                    history.setdefault(name, []).append(value)
                if verbose:
                    took = time.perf_counter() - began
                    said = f"{took:.1f} s, {line(logs)}"
                    print(f"Epoch {epoch + 1}/{epochs}: {said}")
                heard = None if on_epoch is None else on_epoch(epoch, logs)
                if taking.stopped or heard is False:
                    break
        return history

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        learning_rate: Rate | None = None,
    ) -> Logs:
        """Takes one step.

        Args:
            x: 1 to `batch_size` examples, as in `fit`.
            y: Their labels.
            sample_weight: Shape `(batch,)`, or None.
            learning_rate: As in `fit`.

        Returns:
            The batch's `loss`, `accuracy`, ... before the step; a loss of
            NaN if the step was not taken because something was not finite.

        Raises:
            DataError: As `fit` does.
            RefusedError: As `fit` does.
            TransportError: As `fit` does.
            ProtocolError: As `fit` does.
        """
        self._model.check_trains()
        batch = Batch.of(self.description, x, y, sample_weight)
        self.connect()
        epoch = Epoch(self._half, self.description, learning_rate)
        epoch.take(batch)
        return epoch.logs()

    def evaluate(
        self, batches: Batches, *, on_outputs: half.Listener = None
    ) -> Logs:
        """Loss and accuracy in inference mode; nothing moves.

        Args:
            batches: As in `fit`.
            on_outputs: Called with a batch's predictions, one an output.

        Returns:
            `loss`, `accuracy`, ... of all examples.

        Raises:
            DataError: As `fit` does.
            RefusedError: As `fit` does.
            TransportError: As `fit` does.
        """
        self._model.check_trains()
        self.connect()
        self.session.connection.tell_apart()
        averages = Averages(self.description)
        for batch in self._batches(batches, "evaluate"):
            try:
                loss, correct = self._half.evaluate(batch, on_outputs)
            except ProtocolError as error:
                if error.reason != "not-finite":
                    raise
                averages.add(batch.count, math.nan)
            else:
                averages.add(batch.count, loss, correct)
        return averages.logs()

    def predict(self, x: Any) -> Any:
        """Predictions in inference mode.

        Args:
            x: All examples as one array, or a list, tuple or dict of arrays,
                one an input; or batches, of which labels are passed over.

        Returns:
            Shape `(examples, ...)`; for several outputs a dict by name.

        Raises:
            DataError: If a batch does not fit, or there are none.
            RefusedError: If the server refused the session or a batch.
            TransportError: If the server is not there, or went away.
            ProtocolError: If something on the way is not finite.
        """
        self.connect()
        self.session.connection.tell_apart()
        made: list[list[np.ndarray[Any, Any]]] = []
        for item in feed.examples(x, self.description):
            batch = Batch.of(self.description, item, labeled=False)
            made.append(self._half.predict(batch))
        if not made:
            raise feed.no_batch("predict")
        outputs = [np.concatenate(parts) for parts in zip(*made, strict=True)]
        if len(outputs) == 1:
            return outputs[0]
        names = [output.name for output in self.description.outputs]
        return dict(zip(names, outputs, strict=True))

    def preprocess(self, images: Any) -> np.ndarray[Any, Any]:
        """Makes images of any size what the model takes, with numpy alone.

        Args:
            images: Shape `(images, height, width)` or `(images, height,
                width, channels)`, RGB or gray, 0 to 255.

        Returns:
            Shape `(images, *input)`, float32, scaled as the model was
            trained; only resized if client.json does not say how.

        Raises:
            DataError: If these are no images, or the model takes none.
        """
        return feed.to_model_input(images, self.description)

    def _batches(self, batches: Batches, where: str) -> Iterator[Batch]:
        """Once through what a user gave."""
        for item in feed.each(batches, where):
            yield Batch.of(self.description, *feed.labeled(item))

    # -- state: both halves move together ----------------------------------

    def get_state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Weights, statistics and optimizer slots, by names of client.json.

        Raises:
            DataError: If the file is for inference.
        """
        self._model.check_trains()
        self._half.finish()
        return self._model.get_state()

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Writes everything that a training continues from, to one .npz.

        If a session is open, the server keeps a snapshot of its half and the
        file holds its tag. A crash in the middle leaves the old file.

        Raises:
            DataError: If the file is for inference or cannot be written.
            RefusedError: If the server refused the snapshot.
            TransportError: If the server went away.
        """
        self._model.check_trains()
        self._half.finish()
        tag = snapshots.take(self.session) if self.session.connected else ""
        state = State(self.get_state(), self.step, tag, self.moment)
        try:
            state.write(path, self.description)
        except DataError:
            if tag:
                snapshots.release(self.session, tag)
            raise
        before = self._tags.pop(str(path), "")
        if before:
            snapshots.release(self.session, before)
        if tag:
            self._tags[str(path)] = tag

    def load_state(
        self, path: str | os.PathLike[str], *, body: bool = True
    ) -> None:
        """Brings back what `save_state` wrote, on both sides.

        The training goes on bit for bit as if it had not been interrupted.
        Whatever fails, the phone's half is as it was. With `body=False` the
        server's half, which others may train, stays as it is.

        Raises:
            DataError: If the file is missing, damaged or of another model.
            RefusedError: If the server does not have the snapshot any more.
            TransportError: If the server is not there.
        """
        self._model.check_trains()
        state = State.read(path, self.description)
        self._half.finish()
        if state.tag and body:
            with self.session.connection.unsaid():
                self.connect()
                snapshots.restore(self.session, state.tag, optimizer=True)
        self._model.set_state(dict(state.arrays))
        self._half.step = state.step
        self.session.connection.moment = state.moment

    @property
    def step(self) -> int:
        """Number of the next optimizer step, over all sessions."""
        return self._half.step

    @property
    def moment(self) -> Moment:
        """Of the body, after the last step of this half."""
        return self.session.connection.moment

    # -- the server --------------------------------------------------------

    @property
    def uplink_bytes(self) -> int:
        """Bytes sent to the server so far."""
        return self.session.connection.uplink_bytes

    @property
    def downlink_bytes(self) -> int:
        """Bytes received from the server so far."""
        return self.session.connection.downlink_bytes

    @property
    def laps(self) -> dict[str, Lap]:
        """Calls and seconds of each signature, and of `"server"`."""
        return dict(self._clock.laps)

    def connect(self) -> None:
        """Opens a session with the server, unless one is open.

        Raises:
            TransportError: If the server is not there.
            RefusedError: If it was cut from another model, or otherwise.
        """
        about = self.description
        self.session.connect(
            about.contract, about.optimizer, data=about.data_spec.digest
        )

    def close(self) -> None:
        """Ends the session."""
        self.session.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
