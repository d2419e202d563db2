"""Where the initial weights of the phone's half come from.

A server that knows the head's initial weights learns a decoder for them, and
that decoder still reads what a trained head sends. So those weights must not
follow from a seed that the server has, too: here they follow from a secret.

Each array is drawn by the initializer of its own layer. What an initializer
makes without chance (zeros, ones, a constant) stays as it is: that is public
whatever one does.
"""

import contextlib
import copy
import random
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_split.errors import OptionError
from keras_split.utils import keras_private
from keras_split.utils import secret as secrets

_Value = np.ndarray[Any, Any]
_SEED = "seed_generator"
# TensorFlow's stateless draws take two numbers of 31 bits; Keras gives them
# the two of a SeedGenerator, modulo this (keras/src/backend/tensorflow/
# random.py, `_cast_seed`).
_NUMBERS = 2**31 - 2


def reinitialize(models: Sequence[keras.Model], secret: bytes) -> list[str]:
    """Draws the weights of models anew, as a function of a secret.

    The random initializers that the layers have are asked again, with other
    seeds; so are the states of random layers, such as Dropout's. Which
    numbers an array gets depends on the secret, on its place among all, and
    on nothing else: not on names, seeds or what was drawn before, and no
    draw outside sees that there were some.

    Args:
        models: Their layers, those of nested models included. One in several
            is drawn once.
        secret: 16 bytes or more; each array takes 62 bits of its hash.

    Returns:
        The paths of the variables that were drawn.

    Raises:
        OptionError: If they hold weights that were trained or loaded, which
            would be lost; or a layer that cannot be made again. Nothing was
            changed.
    """
    drawn: list[tuple[Any, _Value]] = []
    known: set[int] = set()
    for number, layer in enumerate(_layers(models)):
        if layer.variables and id(layer) not in known:
            known.add(id(layer))
            key = secrets.derived(secret, "birth", number)
            drawn += _Layer(layer).values(key)
    for variable, value in drawn:
        variable.assign(value)
    return [variable.path for variable, _ in drawn]


class _Layer:
    """A layer that is no model, and its initializers."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._variables: list[Any] = layer.variables

    def values(self, key: bytes) -> list[tuple[Any, _Value]]:
        """New values of the variables that chance makes."""
        found: list[tuple[Any, _Value]] = []
        makers = self._makers(key)
        for number, (variable, maker) in enumerate(
            zip(self._variables, makers, strict=True)
        ):
            own = secrets.derived(key, number)
            if maker is None:
                found.append((variable, np.array(_numbers(own), np.int64)))
                continue
            value = self._drawn(variable, maker, own, number)
            if value is not None:
                found.append((variable, value))
            elif variable.trainable or not self._layer.trainable:
                # Not those that adapt to data, or move without a gradient.
                self._check_fresh(variable, self._draw(variable, maker, own))
        return found

    def _makers(self, key: bytes) -> list[Any]:
        """The initializer of each variable; None for the state of a seed."""
        if all(_SEED in v.path for v in self._variables):
            return [None] * len(self._variables)
        try:
            with _chance(key):
                made = keras_private.initializers(self._layer)
        except Exception as error:
            raise self._refused(f"{type(error).__name__}: {error}") from error
        if [_spec(v) for v, _ in made] != [_spec(v) for v in self._variables]:
            raise self._refused(
                f"{len(made)} variables where there are {len(self._variables)}"
                if len(made) != len(self._variables)
                else "variables of other shapes"
            )
        return [
            None if _SEED in variable.path else maker
            for variable, (_, maker) in zip(self._variables, made, strict=True)
        ]

    def _drawn(
        self, variable: Any, maker: Any, key: bytes, number: int
    ) -> _Value | None:
        """A new value; None if there is no chance in it."""
        if type(maker).__module__.partition(".")[0] == "keras":
            if not hasattr(maker, "seed"):
                return None  # zeros, ones, a constant, an identity
            return self._draw(variable, maker, key)
        # Somebody's own: whether it draws, and from what, shows if it is
        # asked again.
        value = self._draw(variable, maker, key)
        if not _equal(value, self._draw(variable, maker, key)):
            raise self._refused(
                f"other numbers for {variable.name!r} each time that its "
                "initializer is called",
                "Let that draw from keras.random, or give it an attribute "
                "`seed` that it draws from",
            )
        other = secrets.derived(key, "another")
        again = self._makers(other)[number]
        if _equal(value, self._draw(variable, again, other)):
            return None
        return value

    def _draw(self, variable: Any, maker: Any, key: bytes) -> _Value:
        """What an initializer makes when all its chance comes from a key."""
        shape = tuple(variable.shape)
        with _chance(key):
            if getattr(maker, "seed", None) is not None:
                maker = copy.copy(maker)
                maker.seed = _generator(secrets.derived(key, "seed"))
            try:
                made = maker(shape, dtype=variable.dtype)
            except Exception as error:
                text = f"{type(error).__name__} from its initializer: {error}"
                raise self._refused(text) from error
        return np.asarray(keras.ops.convert_to_numpy(made)).reshape(shape)

    def _check_fresh(self, variable: Any, initial: _Value) -> None:
        if not _equal(initial, np.asarray(variable)):
            raise OptionError(
                "Expected a model as its initializers made it. Received: "
                f"{variable.path!r}, which was trained or loaded and would "
                "be lost. Draw initial weights before that, or not at all: "
                "whoever has trained weights knows them."
            )

    def _refused(self, received: str, advice: str = "") -> OptionError:
        kind = type(self._layer).__name__
        advice = advice or (
            f"Give {kind} a get_config with all that its __init__ takes, and "
            "make its weights in __init__ or build, with add_weight"
        )
        return OptionError(
            f"Expected a layer that can be made again, to draw its initial "
            f"weights from a secret. Received: {self._layer.path!r} of the "
            f"class {kind}, and {received}. {advice}; or train with the "
            "weights that the model has, which a server that knows its seed "
            "knows as well."
        )


def _layers(models: Sequence[keras.Model]) -> Iterator[Any]:
    """Layers that are no graphs of layers themselves."""
    for model in models:
        for layer in model.layers:
            if keras_private.functional(layer) is not None:
                yield from _layers([layer])
            else:
                yield layer


def _spec(variable: Any) -> tuple[Any, ...]:
    return tuple(variable.shape), str(variable.dtype)


def _equal(one: _Value, other: _Value) -> bool:
    return np.array_equal(one, other)


@contextlib.contextmanager
def _chance(key: bytes) -> Iterator[None]:
    """Has what is drawn without a seed follow from a key, for a while."""
    before, arrays = random.getstate(), np.random.get_state()
    random.seed(key)
    np.random.seed(np.frombuffer(key, np.uint32))
    try:
        with keras_private.default_generator(_generator(key)):
            yield
    finally:
        random.setstate(before)
        np.random.set_state(arrays)


def _generator(key: bytes) -> keras.random.SeedGenerator:
    """Draws from 62 bits of a key; its own seed would have 31."""
    generator = keras.random.SeedGenerator(0)
    generator.state.assign(np.array(_numbers(key), np.int64))
    return generator


def _numbers(key: bytes) -> list[int]:
    half = len(key) // 2
    return [
        int.from_bytes(part, "little") % _NUMBERS
        for part in (key[:half], key[half:])
    ]
