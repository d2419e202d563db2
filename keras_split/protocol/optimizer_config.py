"""What a client may say of the optimizer of its body: a class and numbers.

Nothing that comes in a `Hello`, or from a checkpoint, is deserialized. A
class is one of a list, each of its fields has a range, and the optimizer is
built from those alone.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from keras_split.errors import ProtocolError

_MAX_TEXT = 1 << 16
_MAX_NAMES = 256
# A regular expression of these goes through a name once: there is nothing in
# it to try again, however it is put together.
_LITERAL = re.compile(r"[\w/.:$^-]{0,128}")
_OWN = (
    "Change it, or start the server with an optimizer of its own: serve "
    "--optimizer, server.compile(optimizer)."
)
_SCALED = "LossScaleOptimizer"
_EXCLUDED = "exclude_from_weight_decay"


@dataclass(frozen=True)
class Range:
    """The numbers that a field may be.

    Attributes:
        low: The smallest.
        high: The largest.
        whole: Whether only integers are.
        optional: Whether it may be None, too.

    Example:
    >>> str(Range(0, 1, optional=True)), Range(0, 1).has(float("nan"))
    ('a number from 0 to 1, or null', False)
    """

    low: float
    high: float
    whole: bool = False
    optional: bool = False

    def has(self, value: Any) -> bool:
        """Whether it is one of them."""
        if value is None:
            return self.optional
        kind = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        return self.low <= value <= self.high

    def read(self, value: Any) -> Any:
        """The number as Keras takes it."""
        return value if value is None or self.whole else float(value)

    def __str__(self) -> str:
        """In words."""
        kind = "an integer" if self.whole else "a number"
        words = f"{kind} from {self.low:g} to {self.high:g}"
        return words + ", or null" * self.optional


class _Flag:
    """True or false."""

    def has(self, value: Any) -> bool:
        return isinstance(value, bool)

    def read(self, value: Any) -> Any:
        return value

    def __str__(self) -> str:
        return "true or false"


class _Names:
    """Parts of names of variables, as Keras searches for them."""

    def has(self, value: Any) -> bool:
        return value is None or (
            isinstance(value, list)
            and len(value) <= _MAX_NAMES
            and all(map(is_literal, value))
        )

    def read(self, value: Any) -> Any:
        return value

    def __str__(self) -> str:
        return (
            f"at most {_MAX_NAMES} parts of names, of letters, digits and "
            "_ / . : - ^ $ (no other regular expression)"
        )


LEARNING_RATE = Range(0, 1000)
_SHARE = Range(0, 1)
_DECAY = Range(0, 1000, optional=True)
_CLIP = Range(0, 1e30, optional=True)
_SMALL = Range(0, 1000)
_FACTOR = Range(-100, 100)
_COUNT = Range(0, 10**9, whole=True, optional=True)
_FLAG = _Flag()
_EVERY: dict[str, Any] = {
    "learning_rate": LEARNING_RATE,
    "weight_decay": _DECAY,
    "clipnorm": _CLIP,
    "clipvalue": _CLIP,
    "global_clipnorm": _CLIP,
    "use_ema": _FLAG,
    "ema_momentum": _SHARE,
    "ema_overwrite_frequency": _COUNT,
    "loss_scale_factor": Range(1e-6, 2.0**32, optional=True),
    "gradient_accumulation_steps": _COUNT,
}
_MOMENTUM: dict[str, Any] = {"momentum": _SHARE}
_NESTEROV: dict[str, Any] = {"nesterov": _FLAG}
_EPSILON: dict[str, Any] = {"epsilon": _SMALL}
_BETAS: dict[str, Any] = {"beta_1": _SHARE, "beta_2": _SHARE}
_ADAM = _BETAS | _EPSILON
_START = {"initial_accumulator_value": _SMALL}
CLASSES: Mapping[str, Mapping[str, Any]] = {
    name: _EVERY | fields
    for name, fields in {
        "Adadelta": {"rho": _SHARE} | _EPSILON,
        "Adafactor": {
            "beta_2_decay": Range(-10, 0),
            "epsilon_1": _SMALL,
            "epsilon_2": _SMALL,
            "clip_threshold": Range(1e-6, 1e6),
            "relative_step": _FLAG,
        },
        "Adagrad": _START | _EPSILON,
        "Adam": _ADAM | {"amsgrad": _FLAG},
        "AdamW": _ADAM | {"amsgrad": _FLAG},
        "Adamax": _ADAM,
        "Ftrl": {
            **_START,
            "learning_rate_power": Range(-10, 0),
            "l1_regularization_strength": _SMALL,
            "l2_regularization_strength": _SMALL,
            "l2_shrinkage_regularization_strength": _SMALL,
            "beta": _SMALL,
        },
        "Lamb": _ADAM,
        "Lion": _BETAS,
        "Muon": {
            **_MOMENTUM,
            **_NESTEROV,
            **_EPSILON,
            "adam_beta_1": _SHARE,
            "adam_beta_2": _SHARE,
            "adam_weight_decay": _DECAY,
            "adam_lr_ratio": _SMALL,
            "exclude_layers": _Names(),
            "exclude_embeddings": _FLAG,
            "muon_a": _FACTOR,
            "muon_b": _FACTOR,
            "muon_c": _FACTOR,
            # Each is traced; the paper has 5.
            "ns_steps": Range(0, 20, whole=True),
            "rms_rate": Range(0, 1000, optional=True),
        },
        "Nadam": _ADAM,
        "RMSprop": {"rho": _SHARE, "centered": _FLAG} | _MOMENTUM | _EPSILON,
        "SGD": _MOMENTUM | _NESTEROV,
        "ScheduleFreeAdamW": _ADAM
        | {"warmup_steps": Range(0, 10**9, whole=True)},
    }.items()
}
LOSS_SCALE: Mapping[str, Any] = {
    "initial_scale": Range(1, 2.0**32),
    "dynamic_growth_steps": Range(1, 10**9, whole=True),
}


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer of a client, all of whose values are within their ranges.

    Attributes:
        name: Its class in `keras.optimizers`.
        fields: What the class is made with.
        excluded_names: Variables whose name has one of these do not decay.
        excluded_variables: Nor do these of the body, by number.
        loss_scale: What a `LossScaleOptimizer` around it is made with; None
            without one.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    excluded_names: tuple[str, ...] = ()
    excluded_variables: tuple[int, ...] = ()
    loss_scale: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, text: str) -> "OptimizerConfig":
        """What a `Hello` says.

        Args:
            text: JSON in the form of `keras.optimizers.serialize`, the
                learning rate as a number.

        Raises:
            ProtocolError: With reason `"optimizer"`, if there is anything in
                it that is not in the list; names the field and its range.

        Example:
        >>> text = '{"class_name": "SGD", "config": {"momentum": 2}}'
        >>> OptimizerConfig.read(text)
        Traceback (most recent call last):
        keras_split.errors.ProtocolError: Expected momentum of SGD to be a ...
        """
        value = _parsed(text)
        loss_scale = None
        if value["class_name"] == _SCALED:
            loss_scale = dict(value["config"])
            value = _shaped(loss_scale.pop("inner_optimizer", None))
            loss_scale = _checked(_SCALED, loss_scale, LOSS_SCALE)
        name = value["class_name"]
        if name not in CLASSES:
            raise _refused(
                "an optimizer of keras.optimizers",
                name,
                "For one of your own start the server with it: "
                "server.compile(optimizer).",
            )
        excluded = value.get(_EXCLUDED, {})
        if not isinstance(excluded, dict):
            raise _refused(f"names and variables in {_EXCLUDED}", excluded)
        numbers = _checked_numbers(excluded.get("variables", []))
        names = excluded.get("names", [])
        if names is None or not _Names().has(names):
            raise _refused(f"{_EXCLUDED} of {name} to be {_Names()}", names)
        return cls(
            name,
            _checked(name, value["config"], CLASSES[name]),
            tuple(names),
            numbers,
            loss_scale,
        )

    @property
    def text(self) -> str:
        """What `read` reads."""
        return json.dumps(self._value())

    @property
    def key(self) -> str:
        """The same for two clients whose bodies one graph can update.

        The learning rate comes with each step.
        """
        value = self._value()
        inner = value["config"].get("inner_optimizer", value)
        inner["config"].pop("learning_rate", None)
        return json.dumps(value, sort_keys=True)

    def _value(self) -> dict[str, Any]:
        value: dict[str, Any] = _serialized(self.name, dict(self.fields))
        if self.excluded_names or self.excluded_variables:
            value[_EXCLUDED] = {
                "names": list(self.excluded_names),
                "variables": list(self.excluded_variables),
            }
        if self.loss_scale is not None:
            config = {"inner_optimizer": value, **self.loss_scale}
            value = _serialized(_SCALED, config)
        return value


def is_literal(name: Any) -> bool:
    """Whether a part of a name may travel: is no regular expression.

    Example:
    >>> is_literal("^dense/bias$"), is_literal("(a+)+b")
    (True, False)
    """
    return isinstance(name, str) and _LITERAL.fullmatch(name) is not None


def _serialized(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """In the form of `keras.optimizers.serialize`."""
    return {
        "module": "keras.optimizers",
        "class_name": name,
        "config": config,
        "registered_name": None,
    }


def _parsed(text: str) -> dict[str, Any]:
    try:
        if len(text) > _MAX_TEXT:
            raise ValueError(f"{len(text)} characters")
        return _shaped(json.loads(text))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ProtocolError):
            raise
        raise ProtocolError(
            "Expected the config of a Keras optimizer. Received: "
            f"{text[:200]!r} ({error}). {_OWN}",
            "optimizer",
        ) from error


def _shaped(value: Any) -> dict[str, Any]:
    """Refuses what is not a class with a config."""
    if (
        isinstance(value, dict)
        and isinstance(value.get("class_name"), str)
        and isinstance(value.get("config", {}), dict)
    ):
        return {"config": {}, **value}
    raise _refused("the config of a Keras optimizer", value)


def _checked(
    name: str, config: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of a class, each within its range."""
    made = {}
    for key, value in config.items():
        if key == "name":  # only a name, which Keras numbers
            continue
        if key not in known:
            raise _refused(
                f"a field of {name}: {', '.join(known)}",
                key,
                "Install the same Keras on the phone and on the server.",
            )
        if not known[key].has(value):
            raise _refused(f"{key} of {name} to be {known[key]}", value)
        made[key] = known[key].read(value)
    return made


def _checked_numbers(numbers: Any) -> tuple[int, ...]:
    number = Range(0, 10**6, whole=True)
    if not isinstance(numbers, list) or not all(map(number.has, numbers)):
        raise _refused("numbers of the body's variables", numbers)
    return tuple(numbers)


def _refused(
    expected: str, received: object, advice: str = _OWN
) -> ProtocolError:
    text = repr(received)
    if len(text) > 200:
        text = text[:197] + "..."
    return ProtocolError(
        f"Expected {expected}. Received: {text}. {advice}", "optimizer"
    )
