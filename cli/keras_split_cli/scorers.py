"""What `evaluate` and `predict` ask: a client, a phone's half, a whole model.

One for each kind of file. Those of Keras import TensorFlow, those of LiteRT
do not.
"""

import contextlib
import json
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

import click
import numpy as np

from keras_split.errors import DataError
from keras_split.errors import RefusedError
from keras_split.evaluation import Tally
from keras_split.protocol.data_spec import DataSpec
from keras_split_cli.connection import Connection
from keras_split_cli.console import load_keras
from keras_split_cli.console import quietly
from keras_split_cli.console import working

if TYPE_CHECKING:
    from keras_split.device.scoring import DeviceScorer

_Array = np.ndarray[Any, Any]


class Scorer(Protocol):
    """Says of images what they are; see `keras_split.models.scoring`."""

    shape: tuple[int, int, int]
    classes: int | None
    meaning: str
    data_spec: DataSpec

    def predict(self, images: _Array) -> _Array:
        """Outputs of images of any size."""

    def evaluate(
        self,
        images: _Array,
        labels: _Array,
        batch_size: int,
        listener: Callable[[int], object],
    ) -> tuple[dict[str, float], Tally | None]:
        """Loss and metrics, and what was taken for what."""

    def close(self) -> None:
        """Ends the session with the server, if there is one."""


@contextlib.contextmanager
def opened(
    source: str, connection: Connection, threads: int | None = None
) -> Iterator[Scorer]:
    """The scorer of a file, which is closed at the end.

    Args:
        source: A .keras or a .tflite.
        connection: How a half reaches its server.
        threads: Of LiteRT.

    Raises:
        DataError: If it is no such file, or has a server and needs none, or
            the other way round.
    """
    if source.endswith(".tflite"):
        half = _is_half(Path(source).with_suffix(".json"))
        _check_server(source, half, connection)
        scorer: Scorer = (
            open_device(source, connection, threads)
            if half
            else _whole(source, threads)
        )
    elif source.endswith(".keras"):
        if not Path(source).is_file():
            raise DataError(
                f"Expected a client, or a whole model. Received: {source!r}, "
                "and there is no such file. keras-split train --save writes a "
                "client, keras-split join a whole model."
            )
        scorer = _keras(source, connection)
    else:
        raise DataError(
            "Expected a .keras or a .tflite: a client, or a whole model that "
            f"keras-split join wrote. Received: {source!r}."
        )
    try:
        yield scorer
    finally:
        scorer.close()


def _keras(source: str, connection: Connection) -> Scorer:
    with working(f"Loading {source}"):
        load_keras()
        from keras_split import load_model
        from keras_split.client.strategy import SplitStrategy
        from keras_split.device.whole import read_data_spec
        from keras_split.models import ClientModel
        from keras_split.models import ServerModel
        from keras_split.models.scoring import KerasScorer

        model = load_model(source)
    if isinstance(model, ServerModel):
        raise DataError(
            "Expected a client, or a whole model. Received: the server's half "
            f"in {source!r}. Serve it, and evaluate client.keras with "
            "--server; or join both with keras-split join."
        )
    half = isinstance(model, ClientModel)
    _check_server(source, half, connection)
    if not half:
        beside = read_data_spec(source)
        return KerasScorer(model, data_spec=beside)
    strategy = SplitStrategy(
        connection.address,
        credentials=connection.credentials,
        retry=connection.retry,
    )
    return KerasScorer(model, strategy)


def open_device(
    source: str, connection: Connection, threads: int | None
) -> "DeviceScorer":
    """The scorer of a client.tflite."""
    from keras_split.device import Client
    from keras_split.device.scoring import DeviceScorer

    assert connection.address is not None
    with quietly():  # LiteRT tells of its delegate, which the first run makes
        client = Client(
            source,
            connection.address,
            num_threads=threads,
            credentials=connection.credentials,
            retry=connection.retry,
        )
        if client.description.trains:
            client.get_state()
    return DeviceScorer(client)


def load_state(scorer: Scorer, state: str | None, *, body: bool) -> None:
    """Gives a phone's half what it learned.

    Args:
        scorer: Of the half.
        state: What `device train` wrote; None for what was exported.
        body: Whether the server's half goes back to that moment as well. A
            server that only predicts keeps it, which is said.

    Raises:
        DataError: If it is no phone's half, or the state is not its own.
    """
    if state is None:
        return
    client = getattr(scorer, "client", None)
    if client is None:
        raise DataError(
            "Expected a client.tflite for --state. Received: another model, "
            f"which {state!r} is not of. Leave --state out."
        )
    try:
        client.load_state(state, body=body)
    except RefusedError as error:
        if error.reason != "inference-only":
            raise
        client.close()  # the next session says whether it is of that moment
        client.load_state(state, body=False)
        click.echo(
            "The server only predicts: its half is not set back to what it "
            f"was when {state} was saved.",
            err=True,
        )


def class_names(scorer: Scorer, given: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the classes in the order of the outputs; none if unknown.

    Args:
        scorer: Knows those in the model's file.
        given: On the command line.

    Raises:
        DataError: If both say something, and not the same; or if they are not
            as many as the model tells apart.
    """
    own = scorer.data_spec.class_names
    if own and given and given != own:
        raise DataError(
            f"Expected the classes that the model was trained with: "
            f"{', '.join(own)}. Received: {', '.join(given)}. Leave "
            "--class-names and --classes-from out, for it names them itself."
        )
    names = own or given
    if names and scorer.classes not in (None, len(names)):
        raise DataError(
            f"Expected names of {scorer.classes} classes, as many as the "
            f"model tells apart. Received: {len(names)}: "
            f"{', '.join(names[:5])}{', ...' * (len(names) > 5)}."
        )
    return names


def _whole(source: str, threads: int | None) -> Scorer:
    from keras_split.device.whole import WholeScorer

    with quietly():
        scorer = WholeScorer(source, threads)
        scorer.predict(np.zeros((1, *scorer.shape), np.uint8))
    return scorer


def _is_half(path: Path) -> bool:
    """Whether a .json is that of a phone's half."""
    try:
        return "contract" in json.loads(path.read_bytes())
    except (OSError, ValueError, TypeError):
        return False  # who reads it next says what is wrong with it


def _check_server(source: str, half: bool, connection: Connection) -> None:
    if half and connection.address is None:
        raise DataError(
            f"Expected --server, for {source!r} is the phone's half and the "
            "rest runs there. Received: none. Pass --server HOST:PORT, or "
            "join both halves with keras-split join."
        )
    if not half and connection.address is not None:
        raise DataError(
            f"Expected a client for --server. Received: {source!r}, a whole "
            "model, which needs none. Leave --server out."
        )
