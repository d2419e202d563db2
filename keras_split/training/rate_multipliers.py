"""Learning rates of head, body and tail apart."""

import contextlib
import math
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_split.errors import OptionError
from keras_split.utils import keras_private


@dataclass(frozen=True)
class RateMultipliers:
    """By what each part multiplies the learning rate of the optimizer.

    Multiples and not rates, so that a schedule, `ReduceLROnPlateau` and the
    like steer all parts at once. That of the body is in the rate that travels
    with each step.

    Attributes:
        head: For the weights of the head.
        body: For those of the body.
        tail: For those of the tail.
    """

    head: float = 1.0
    body: float = 1.0
    tail: float = 1.0

    @classmethod
    def get(
        cls, identifier: "RateMultipliers | Mapping[str, float] | None"
    ) -> "RateMultipliers":
        """Multipliers from themselves, from a dict by part, or from None.

        Raises:
            OptionError: If there is no such part, or a number cannot be one.
        """
        if isinstance(identifier, cls):
            return identifier
        given = dict(identifier or {})  # type: ignore[arg-type]
        parts = tuple(cls.__dataclass_fields__)
        for name, value in given.items():
            if name not in parts:
                raise OptionError(
                    "Expected learning rate multipliers for "
                    f"{', '.join(parts)}. Received: one for {name!r}."
                )
            number = isinstance(value, int | float) and math.isfinite(value)
            if not number or value < 0:
                raise OptionError(
                    "Expected a learning rate multiplier of 0 or more. "
                    f"Received: {name}={value!r}."
                )
        return cls(**{name: float(value) for name, value in given.items()})

    @property
    def alike(self) -> bool:
        """Whether all parts have one learning rate."""
        return self == RateMultipliers()

    def get_config(self) -> dict[str, float]:
        """Plain values, for `get`."""
        return asdict(self)

    def check(self, head: keras.Model, tail: keras.Model | None) -> None:
        """Refuses what these halves cannot have.

        Raises:
            OptionError: If there is no tail, or weights of head and tail are
                the same and their multipliers are not.
        """
        if tail is None:
            if self.tail != 1:
                raise OptionError(
                    "Expected learning rate multipliers for head and body, "
                    "for the model is cut once and has no tail. Received: "
                    f"tail={self.tail:g}. Leave it out."
                )
            return
        both = {id(v) for v in head.variables} & {id(v) for v in tail.variables}
        shared = [v.path for v in head.variables if id(v) in both]
        if shared and self.head != self.tail:
            raise OptionError(
                "Expected one learning rate multiplier for weights that are "
                f"both in head and tail, such as {shared[0]!r}. Received: "
                f"head={self.head:g}, tail={self.tail:g}. Give both the same."
            )

    def of_body(self, optimizer: Any) -> tf.Tensor:
        """The learning rate that travels to the body, shape `()`, float32."""
        rate = tf.cast(optimizer.learning_rate, tf.float32)
        return rate if self.body == 1 else rate * self.body

    @contextlib.contextmanager
    def applied(
        self, optimizer: Any, head: keras.Model, tail: keras.Model | None
    ) -> Iterator[None]:
        """Has updates of head and tail in this scope made at their rates."""
        factors = [(v, self.head) for v in head.trainable_variables]
        if tail is not None:
            factors += [(v, self.tail) for v in tail.trainable_variables]
        if all(factor == 1 for _, factor in factors):
            yield
            return
        with keras_private.rates_apart(optimizer, factors):
            yield
