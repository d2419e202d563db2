"""What a defense is, and how it is found by name."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

import keras
import tensorflow as tf

from keras_split.defenses.key import Key
from keras_split.defenses.release import Release
from keras_split.errors import DefenseError

_T = TypeVar("_T", bound="type[Defense]")
_KNOWN: "dict[str, type[Defense]]" = {}


class Defense:
    """Changes what the phone sends, before it is quantized.

    A subclass says in `apply` what it does. Registered with `register`, it
    is saved with the client and becomes a part of the phone's file.

    Attributes:
        name: What it is registered as.
        where: The tensors it is for: `"smashed"` (outputs of the head),
            `"features_grad"` (gradients of the features), or both; or
            `"labels"` (one-hot, shape `(batch, classes)`, before the loss;
            draws are an example's, and not a step's).
        mixes: Whether an example depends on others of its batch.
    """

    name = ""
    where: tuple[str, ...] = ("smashed",)
    mixes = False

    def apply(self, x: tf.Tensor, key: Key, where: str) -> tf.Tensor:
        """What is sent instead of `x`.

        Operations must be those that LiteRT has. With adds and products
        whose results are exact, TensorFlow and the phone's file agree in the
        last bit; `keras_split.defenses.coarse` helps. Gradients of the
        smashed data are taken back through this function, so a `tf.
        stop_gradient` round noise lets them pass it as they are.

        Args:
            x: Float32, shape `(batch, ...)`, static but for the batch.
            key: Draws random numbers, the same for the same step and
                example. Examples must not depend on one another: a batch may
                travel in parts.
            where: Which one of `self.where` this is.

        Returns:
            A tensor of the shape and dtype of `x`.

        Raises:
            DefenseError: If a subclass does not say what.
        """
        raise DefenseError(
            f"Expected {type(self).__name__} to say in apply(x, key, where) "
            "what is sent instead of x. Received: a defense without it."
        )

    def penalty(
        self,
        inputs: Sequence[tf.Tensor],
        smashed: Sequence[tf.Tensor],
        count: Any,
    ) -> tf.Tensor | None:
        """What is added to the loss of a training batch.

        Args:
            inputs: Of the head.
            smashed: Its outputs that are sent, before all defenses. Of these
                a gradient is taken.
            count: How many of the examples are real, the first; a scalar.

        Returns:
            A float32 scalar; None for a defense without.
        """
        return None

    def release(self, values: int) -> Release | None:
        """What it costs to send an example once, for an `Accountant`.

        Args:
            values: How many an example has; of labels, the classes.

        Returns:
            None for a defense that gives no differential privacy.
        """
        return None

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes, as plain values."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Defense":
        """The inverse of `get_config`."""
        return cls(**config)


def register(name: str) -> Callable[[_T], _T]:
    """Makes a class of defenses known by a name, to us and to Keras.

    Args:
        name: Its name in saved models; not one that is taken.

    Raises:
        DefenseError: If it is taken by another class, or the class is none
            of defenses.

    Example:
    >>> @register("half")
    ... class Half(Defense):
    ...     def apply(self, x, key, where):
    ...         return 0.5 * x
    >>> type(get("half")).__name__
    'Half'
    """

    def add(cls: _T) -> _T:
        if not (isinstance(cls, type) and issubclass(cls, Defense)):
            raise DefenseError(
                f"Expected a subclass of Defense to register as {name!r}. "
                f"Received: {cls!r}. Derive from keras_split.defenses.Defense."
            )
        known = _KNOWN.get(name, cls)
        same = (known.__module__, known.__qualname__)
        if same != (cls.__module__, cls.__qualname__):
            raise DefenseError(
                f"Expected a name that is free. Received: {name!r}, which is "
                f"{'.'.join(same)}. Register the defense as another name, "
                f"such as 'mine_{name}'."
            )
        cls.name = name
        _KNOWN[name] = cls
        keras.saving.register_keras_serializable("keras_split.defenses", name)(
            cls
        )
        return cls

    return add


def get(identifier: Any) -> Defense:
    """A defense from itself, its name, or what `serialize` returned.

    Raises:
        DefenseError: If there is none of that name.
    """
    if isinstance(identifier, Defense):
        if not identifier.name:
            raise DefenseError(
                "Expected a defense that can be saved. Received: "
                f"{type(identifier).__name__}, which is not registered. Put "
                "@keras_split.defenses.register('its_name') before the class."
            )
        return identifier
    config: dict[str, Any] = {}
    name = identifier
    if isinstance(identifier, dict):
        name = identifier.get("name")
        config = identifier.get("config", {})
    if not isinstance(name, str) or name not in _KNOWN:
        raise DefenseError(
            f"Expected a defense: {', '.join(sorted(_KNOWN))}, or an object "
            f"of such a class. Received: {identifier!r}. Import the module "
            "that registers it, or choose one of those."
        )
    try:
        return _KNOWN[name].from_config(config)
    except TypeError as error:
        raise DefenseError(
            f"Expected the defense {name!r} with what it is made with. "
            f"Received: {identifier!r} ({error}). Pass an object, such as "
            f"keras_split.defenses.{_KNOWN[name].__name__}(...)."
        ) from error


def known() -> "dict[str, type[Defense]]":
    """All that are registered, by name."""
    return dict(sorted(_KNOWN.items()))


def serialize(defense: Defense) -> dict[str, Any]:
    """Name and config of a defense, for `get`."""
    return {"name": defense.name, "config": defense.get_config()}


@register("identity")
class Identity(Defense):
    """No defense: everything is sent as it is, at no cost."""

    where = ()

    def apply(self, x: tf.Tensor, key: Key, where: str) -> tf.Tensor:
        """Returns `x`."""
        return x
