"""Writes the phone's half as a LiteRT file that trains."""

import json
import os
import tempfile
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_split.errors import ExportError
from keras_split.litert import silent
from keras_split.litert.convert import convert
from keras_split.litert.description import data_spec
from keras_split.litert.description import describe
from keras_split.litert.description import dumps
from keras_split.litert.description import output_names
from keras_split.litert.half import PhoneHalf
from keras_split.litert.losses import OutputLoss
from keras_split.litert.optimizers import Update
from keras_split.litert.state import digest
from keras_split.litert.state import kinds_of
from keras_split.litert.training import TrainingSignatures
from keras_split.training.rate_multipliers import RateMultipliers
from keras_split.utils import keras_private


def export_training(
    client: PhoneHalf,
    path: str | os.PathLike[str],
    *,
    batch_size: int = 8,
    optimizer: Any = None,
    loss: Any = None,
    preprocess: Callable[..., Any] | None = None,
    learning_rate_multipliers: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Writes `client.tflite`, which trains, and `client.json` beside it.

    Args:
        client: The phone's half, cut twice.
        path: Where to write; ends in .tflite.
        batch_size: Rows of every tensor in the file. A smaller batch is
            filled up by the phone, without changing what is learned.
        optimizer: SGD, Adam or AdamW; by default the one of `compile`.
        loss: By default that of `compile`.
        preprocess: What the network wants done to images from 0 to 255, for
            `client.json`, instead of what the client's `data_spec` says.
        learning_rate_multipliers: As in `client.compile`; by default those.
            The rate that a phone gives the file is the body's, and those of
            head and tail stay in proportion to it.

    Returns:
        The content of `client.json`.

    Raises:
        ExportError: If the half cannot be exported; nothing is written.
    """
    target = check(client, path, batch_size)
    spec = data_spec(client, preprocess)
    chosen = _optimizer(client, optimizer)
    losses = _losses(client, loss)
    update = Update(chosen)
    rates = _rates(client, learning_rate_multipliers)
    signatures = TrainingSignatures(client, batch_size, losses, update, rates)
    content = convert(signatures.module, signatures.functions(), layers(client))
    states = (signatures.head.state, signatures.tail.state)
    described = describe(
        client,
        content,
        mode="train",
        batch_size=batch_size,
        losses=losses,
        optimizer=chosen,
        body_rate=float(chosen.learning_rate) * rates.body,
        state=[entry for state in states for entry in state.entries],
        frozen=digest(v for state in states for v in state.constants),
        data_spec=spec,
    )
    return write(target, content, described)


def check(
    client: PhoneHalf, path: str | os.PathLike[str], batch_size: int
) -> Path:
    """Refuses what cannot be exported whatever the mode; returns the path.

    Raises:
        ExportError: If so.
    """
    target = Path(path)
    if target.suffix != ".tflite":
        raise ExportError(
            "Expected a file name that ends in .tflite. Received: "
            f"{str(target)!r}."
        )
    if batch_size < 1:
        raise ExportError(
            f"Expected a batch_size of 1 or more. Received: {batch_size}."
        )
    if client.tail is None:
        raise ExportError(
            "Expected a model that is cut twice, so that labels stay on the "
            "phone. Received: one cut. Pass cut=[first, second]."
        )
    for segment in (client.head, client.tail):
        silent.check_stateless(segment)
        for layer in keras_private.flatten_layers(segment):
            if layer.compute_dtype not in (None, "float32"):
                raise ExportError(
                    "Expected float32 layers in head and tail. Received: "
                    f"{layer.name!r} with the policy "
                    f"{layer.dtype_policy.name!r}. Build the model under "
                    "keras.config.set_dtype_policy('float32')."
                )
    _check_tied(client.head, client.tail)
    return target


def _check_tied(head: keras.Model, tail: keras.Model) -> None:
    """Refuses statistics that both halves would move; weights may be tied."""
    moving = {id(v) for v in kinds_of(head).statistics}
    tied = [v.path for v in kinds_of(tail).statistics if id(v) in moving]
    if tied:
        raise ExportError(
            "Expected BatchNormalization layers of their own in head and "
            f"tail. Received: {', '.join(map(repr, tied))} in both, which "
            "each would move. Give each half a layer of its own."
        )


def layers(client: PhoneHalf) -> dict[str, str]:
    """Class names of the layers of head and tail, by name."""
    return {
        layer.name: type(layer).__name__
        for segment in (client.head, client.tail)
        if segment is not None
        for layer in keras_private.flatten_layers(segment, include_self=False)
    }


def write(
    target: Path, content: bytes, described: dict[str, Any]
) -> dict[str, Any]:
    """Writes both files, or neither; returns what a reader of them gets."""
    target.parent.mkdir(parents=True, exist_ok=True)
    files = (
        (target, content),
        (target.with_suffix(".json"), dumps(described).encode()),
    )
    made: list[tuple[str, Path]] = []
    try:
        for final, data in files:
            handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
            made.append((name, final))
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o644)
        for name, final in made:
            os.replace(name, final)
    finally:
        for name, _ in made:
            Path(name).unlink(missing_ok=True)
    about: dict[str, Any] = json.loads(dumps(described))
    return about


def _optimizer(client: PhoneHalf, given: Any) -> keras.Optimizer:
    found = given if given is not None else getattr(client, "optimizer", None)
    if found is None:
        raise ExportError(
            "Expected an optimizer. Received: none. Call client.compile("
            "optimizer, loss) first, or pass optimizer=."
        )
    try:
        optimizer: keras.Optimizer = keras.optimizers.get(found)
    except ValueError as error:
        raise ExportError(
            f"Expected an optimizer of Keras. Received: {found!r}. Pass "
            "keras.optimizers.SGD(0.01, momentum=0.9), or a name."
        ) from error
    return optimizer


def _rates(
    client: PhoneHalf, given: Mapping[str, float] | None
) -> RateMultipliers:
    """By what the parts multiply the learning rate."""
    if given is None:
        given = getattr(client, "learning_rate_multipliers", None)
    rates = RateMultipliers.get(given)
    if not rates.body:
        raise ExportError(
            "Expected a learning rate multiplier of the body above 0, for a "
            "phone gives its file the body's rate, and head and tail take "
            "multiples of that. Received: body=0. Freeze the body on the "
            "server instead: server.body.trainable = False."
        )
    return rates


def _losses(client: PhoneHalf, given: Any) -> list[OutputLoss]:
    """The loss of each output of the tail."""
    names = output_names(client)
    weights: Any = None
    if given is None and client.compiled:
        given = keras_private.compile_config(client).get("loss")
        weights = keras_private.compile_config(client).get("loss_weights")
    return [
        OutputLoss(name, loss, 1.0 if weight is None else float(weight))
        for name, loss, weight in zip(
            names, _each(client, given), _each(client, weights), strict=True
        )
    ]


def _each(client: PhoneHalf, given: Any) -> list[Any]:
    """What was given for each output: one for all, by name or in order."""
    names, wiring = output_names(client), client.wiring
    if isinstance(given, dict):
        by_key = isinstance(wiring.outputs, dict)  # perhaps dicts of dicts
        known = list(wiring.outputs) if by_key else names
        unknown = [str(name) for name in given if name not in known]
        if unknown:
            raise ExportError(
                f"Expected names of outputs: {', '.join(known)}. Received: "
                f"{', '.join(unknown)}. Name each output as the model does."
            )
        if by_key:
            return list(wiring.by_output(given))
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)) and len(given) == len(names):
        return list(given)
    return [given] * len(names)
