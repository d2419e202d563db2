"""Attacks one's own split, and says what they got."""

import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_split.audit.attack import Attack
from keras_split.audit.finding import Setting
from keras_split.audit.report import Report
from keras_split.audit.scene import Examples
from keras_split.audit.standard import standard
from keras_split.audit.trials import Trials
from keras_split.defenses.chain import Chain
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.models import ClientModel
from keras_split.models import ServerModel


def run(
    client: ClientModel,
    server: ServerModel,
    data: Any,
    public: Any,
    *,
    attacks: Sequence[Callable[[], Attack]] | None = None,
    compare: Mapping[str, Any] | None = None,
    held_out: Any = None,
    minutes: float = 10.0,
    epochs: int = 20,
    batch_size: int = 64,
    seed: int = 0,
    drill: bool = False,
    words: Mapping[str, str] | None = None,
    told: Callable[[str, str, float], None] | None = None,
) -> Report:
    """Attacks a split as its own server could, and says what that gets.

    A copy of the client trains with a copy of the server, from their weights,
    while attacks see what the server sees; the halves given, and their files,
    stay as they are. What an attack gets depends on its budget, which is in
    the report: with more time, more data and a better attack a server gets
    more.

    Args:
        client: The phone's half of a model that was cut twice and tells
            classes apart; compiled. Its defenses are the first that are
            tried.
        server: The server's half.
        data: The phone's: inputs as the model takes them, and class numbers.
        public: The same for what an attacker has: of the same kind, none of
            the phone's own.
        attacks: What makes them: classes, or functions, since each training
            has its own; by default `keras_split.audit.standard(classes)`.
        compare: Defenses to try beside the client's, by name, as
            `keras_split.compile` takes them.
        held_out: What the accuracy is measured on; by default `public`.
        minutes: About how long all of it takes; longer where they are few, for
            each attack has its share of them.
        epochs: How long a training is, if there is time for that.
        batch_size: Examples in a step.
        seed: Of all chance here.
        drill: Whether a server also hijacks copies (see
            `keras_split.audit.Hijack`), and phones with a
            `keras_split.HijackDetector` are to tell it from an honest one.
            It takes a third of the time.
        words: What else the report says of the setting, by its name.
        told: Is told what is being done, how far that is, and which share of
            the time is over.

    Returns:
        A `Report`, with a `Trial` for the client as it is, and for each of
        `compare`.

    Raises:
        OptionError: If the client is cut once, shares an input, has several
            inputs or outputs, or is not compiled.
        DataError: If the data does not fit the model, or is too little.
    """
    check(client)
    if not minutes > 0:
        raise OptionError(
            f"Expected minutes above 0. Received: {minutes}. 10 is a start."
        )
    private = _examples(client, data, "data", batch_size)
    known = _examples(client, public, "public", batch_size)
    others = known
    if held_out is not None:
        others = _examples(client, held_out, "held_out", 1)
    makers = standard(classes_of(client)) if attacks is None else attacks
    began = time.perf_counter()
    first = "as it is" if client.defenses or not compare else "no defense"
    chains = {first: client.defenses}
    chains |= {name: Chain.get(some) for name, some in (compare or {}).items()}
    trials = Trials(
        client,
        server,
        (private, known, others),
        classes_of(client),
        seconds=60 * minutes,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        drill=drill,
        told=told or (lambda stage, detail, share: None),
    )
    trials.train_classifier()
    for number, (name, chain) in enumerate(chains.items()):
        made = [make() for make in makers]
        trials.add(name, chain, made, len(chains) - number)
    setting = Setting(
        cut=client.contract.cut,
        quantization=str(client.contract.quantization),
        private=len(private),
        public=len(known),
        held_out=len(others),
        classes=classes_of(client),
        batch_size=batch_size,
        seed=seed,
        minutes=minutes,
        seconds=round(time.perf_counter() - began, 1),
        words=dict(words or {}),
    )
    return Report(setting, tuple(trials.made), trials.pictures)


def check(client: ClientModel) -> None:
    """Refuses a model that the attacks are not made for.

    Raises:
        OptionError: If it is cut once, shares an input, or has several
            inputs or outputs.
    """
    if client.tail is None:
        raise OptionError(
            "Expected a model that is cut twice, so that labels stay on the "
            f"phone. Received: one cut, at {client.contract.cut[0]!r}: the "
            "server is sent the labels, no attack needed. Cut it twice, as in "
            'cut=["first", "last"].'
        )
    shared = [repr(spec.name) for spec in client.contract.shared]
    if shared:
        raise OptionError(
            "Expected a model whose inputs stay on the phone, for attacks to "
            f"find out how much they show. Received: share={', '.join(shared)}:"
            " the server is sent that as it is, no attack needed, and no "
            "defense is applied to it. Audit a model without that input, cut "
            "at the same layers."
        )
    if client.contract.buckets:
        raise OptionError(
            "Expected sequences of one length, for attacks on what crosses. "
            f"Received: lengths={list(client.contract.lengths)}. Audit "
            "keras_split.fix_length(model, length), cut at the same layers."
        )
    outputs = keras.tree.flatten(client.wiring.outputs)
    if len(client.wiring.inputs) != 1 or len(outputs) != 1:
        raise OptionError(
            "Expected a model with one input and one output, which the "
            f"attacks are made for. Received: {len(client.wiring.inputs)} "
            f"inputs and {len(outputs)} outputs. Audit a part of it that has "
            "one of each."
        )
    shape = tuple(client.tail.outputs[0].shape)
    if len(shape) != 2 or shape[1] < 2:
        raise OptionError(
            "Expected a model that tells classes apart, with a number for "
            f"each of two or more. Received: an output of shape {shape}. "
            "Give a model of two classes two outputs; what a server reads of "
            "other outputs has no attack here."
        )


def classes_of(client: ClientModel) -> int:
    """How many classes a model tells apart."""
    assert client.tail is not None
    return int(client.tail.outputs[0].shape[-1])


def _examples(
    client: ClientModel, pair: Any, name: str, least: int
) -> Examples:
    """Inputs and class numbers, checked."""
    pair = (pair.x, pair.y) if isinstance(pair, Examples) else pair
    x = np.asarray(pair[0], "float32")
    y = np.asarray(pair[1])
    classes = classes_of(client)
    if y.ndim == 2 and y.shape[1] == classes:
        y = y.argmax(1)
    y = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
    wanted = tuple(client.head.inputs[0].shape[1:])
    fits = len(x.shape) == len(wanted) + 1 and all(
        a in (None, b) for a, b in zip(wanted, x.shape[1:], strict=True)
    )
    if not fits or y.shape != (len(x),):
        raise DataError(
            f"Expected {name} of shape (examples, "
            f"{', '.join(map(str, wanted))}) with a class number for each. "
            f"Received: inputs of shape {x.shape}, labels of shape {y.shape}."
        )
    if not np.isfinite(x).all():
        raise DataError(
            f"Expected finite inputs in {name}. Received: some that are not. "
            "Look at how they are loaded."
        )
    whole = y.astype("int64")
    if (whole != y).any() or (len(y) and not 0 <= y.min() <= y.max() < classes):
        raise DataError(
            f"Expected class numbers from 0 to {classes - 1} in {name}. "
            f"Received: labels from {y.min()} to {y.max()}, {y.dtype}."
        )
    if len(x) < least:
        raise DataError(
            f"Expected {least} examples or more in {name}, a batch. Received: "
            f"{len(x)}. Pass more of them, or a smaller batch size."
        )
    return Examples(x, whole)
