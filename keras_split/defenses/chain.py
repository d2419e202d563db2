"""The defenses of one phone, one behind the other, and their secret."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_split.defenses.defense import Defense
from keras_split.defenses.defense import get
from keras_split.defenses.defense import serialize
from keras_split.defenses.key import Key
from keras_split.defenses.label_kind import LabelKind
from keras_split.defenses.likeness import likeness
from keras_split.errors import DefenseError


@dataclass(frozen=True, eq=False)
class Moment:
    """Where in a training something is sent.

    Attributes:
        step: Number of the optimizer's step, a scalar tensor or a variable.
        first: Number of the first example that is sent, in its batch.
        count: How many examples are real, if not all: those behind them
            repeat the first, so they get its draws.
        size: How many examples the batch has, if this is a part of it.
        inputs: Of the examples, where what is drawn for one is the same each
            time; see `keras_split.defenses.likeness`.
    """

    step: Any
    first: Any = 0
    count: Any = None
    size: Any = None
    inputs: Sequence[tf.Tensor] = ()

    def key(self, seed: str, x: tf.Tensor) -> Key:
        """What is drawn from for the examples of `x`."""
        rows = x.shape[0]
        rows = tf.shape(x)[0] if rows is None else rows
        count = tf.cast(rows, tf.float32)
        numbers = tf.range(count, dtype=tf.float32)
        if self.count is not None:
            count = tf.cast(self.count, tf.float32)
            numbers = tf.where(numbers < count, numbers, 0.0)
        size = count if self.size is None else tf.cast(self.size, tf.float32)
        return Key(
            seed,
            tf.convert_to_tensor(self.step),
            numbers + tf.cast(self.first, tf.float32),
            size,
            count,
            likeness(self.inputs, f"{seed}/likeness") if self.inputs else None,
        )


# Every example gets the same draws: a prediction does not depend on what else
# is in its batch, and is the same each time.
INFERENCE = Moment(step=-1, count=0)


class Chain:
    """Defenses, one behind the other, and the seed of what they draw.

    The seed is the phone's secret: it is saved with the client and is in the
    phone's file, and no message has a field for it. Phones with the same file
    draw the same numbers.

    Args:
        defenses: Defenses, their names or configs; identities are left out.
        seed: An integer; by default one of 128 bits from the system's
            randomness, which `keras.utils.set_random_seed` does not touch.

    Raises:
        DefenseError: If one is unknown.
    """

    def __init__(
        self, defenses: Sequence[Any] = (), seed: int | None = None
    ) -> None:
        if isinstance(defenses, (str, type, Defense)):
            defenses = [defenses]
        found = [get(defense) for defense in defenses]
        self.defenses = tuple(d for d in found if d.where)
        if seed is None:
            seed = secrets.randbits(128) if self.defenses else 0
        self.seed = int(seed)

    @classmethod
    def get(cls, identifier: Any) -> "Chain":
        """A chain from itself, its config, a list of defenses or None."""
        if isinstance(identifier, cls):
            return identifier
        if isinstance(identifier, dict) and "defenses" in identifier:
            return cls(**identifier)
        return cls(identifier or ())

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return bool(self.defenses)

    def applies(self, where: str) -> bool:
        """Whether tensors of a kind are changed."""
        return any(where in defense.where for defense in self.defenses)

    def apply(
        self, x: tf.Tensor, where: str, tensor: int, moment: Moment
    ) -> tf.Tensor:
        """What is sent instead of `x`, float32; `x` itself without defense.

        Args:
            x: Floats, shape `(batch, ...)`.
            where: `"smashed"`, `"features_grad"` or `"labels"`.
            tensor: Which of the tensors of that kind it is.
            moment: When it is sent.

        Raises:
            DefenseError: If a defense changes shape or dtype.
        """
        if not self.applies(where):
            return x
        x = tf.cast(x, tf.float32)
        for number, defense in enumerate(self.defenses):
            if where not in defense.where:
                continue
            seed = f"{self.seed}/{number}/{where}/{tensor}"
            made = defense.apply(x, moment.key(seed, x), where)
            x = _checked(defense, x, made)
        return x

    @property
    def has_penalty(self) -> bool:
        """Whether one adds something to the loss."""
        return any(
            type(defense).penalty is not Defense.penalty
            for defense in self.defenses
        )

    def penalty(
        self,
        inputs: Sequence[tf.Tensor],
        smashed: Sequence[tf.Tensor],
        count: Any = None,
    ) -> tf.Tensor | None:
        """What they add to the loss of a training batch; None for nothing.

        Args:
            inputs: Of the head.
            smashed: Its outputs that are sent, as they are.
            count: How many of the examples are real; all of them by default.
        """
        if not self.has_penalty:
            return None
        if count is None:
            count = tf.shape(smashed[0])[0]
        found = [d.penalty(inputs, smashed, count) for d in self.defenses]
        return tf.add_n([loss for loss in found if loss is not None])

    def answers(
        self,
        labels: tf.Tensor,
        loss: Any,
        prediction: Sequence[int],
        inputs: Sequence[tf.Tensor],
    ) -> tf.Tensor:
        """The labels to train with instead of true ones.

        Args:
            labels: As the loss takes them.
            loss: The loss of the one output.
            prediction: Shape of that output, without the batch.
            inputs: Of the model, by which an example is known again.

        Returns:
            Labels of the same shape and dtype.

        Raises:
            DefenseError: If they are no classes, one for an example.
        """
        kind = LabelKind.of(loss, prediction)
        one_hot = kind.one_hot(labels, kind.classes(prediction))
        moment = Moment(step=0, inputs=inputs)
        return kind.back(self.apply(one_hot, "labels", 0, moment), labels)

    def get_config(self) -> dict[str, Any]:
        """Plain values, the seed among them."""
        return {"defenses": self.describe(), "seed": self.seed}

    def describe(self) -> list[dict[str, Any]]:
        """Names and configs alone, which may be shown."""
        return [serialize(defense) for defense in self.defenses]


def _checked(defense: Defense, x: tf.Tensor, made: Any) -> tf.Tensor:
    fits = isinstance(made, tf.Tensor) and made.dtype == x.dtype
    if not fits or not made.shape.is_compatible_with(x.shape):
        raise DefenseError(
            f"Expected {defense.name!r} to return a tensor like the one it "
            f"was given, {x.dtype.name} {x.shape}. Received: {made!r}. Look "
            "at its apply."
        )
    made.set_shape(x.shape)
    return made
