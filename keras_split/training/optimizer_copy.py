"""A second optimizer like the first, with slots of its own."""

import copy
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_split.utils import keras_private


def optimizer_copy(
    optimizer: keras.optimizers.Optimizer,
    *,
    fixed_rate: bool = False,
    moved: tuple[Sequence[Any], Sequence[Any]] = ((), ()),
) -> keras.optimizers.Optimizer:
    """An optimizer that does the same; its slots are still to be built.

    Not by way of its config, which says nothing of
    `exclude_from_weight_decay`, of attributes of one's own, or of a schedule
    that has none, and which not every class has.

    Args:
        optimizer: It, built or not.
        fixed_rate: Whether it gets the learning rate of this moment in place
            of a schedule, to be set before each step.
        moved: Variables that the optimizer may know, and those that stand in
            their place for the copy.
    """
    kind = type(optimizer)
    made: Any = object.__new__(kind)
    given = keras_private.rate_given(optimizer)
    if fixed_rate:
        given = float(optimizer.learning_rate)
    keras.optimizers.Optimizer.__init__(made, given, name=optimizer.name)
    bare, own = set(vars(made)), {id(v) for v in optimizer.variables}
    for name, value in vars(optimizer).items():
        if keras_private.is_bookkeeping(name, bare):
            continue
        if isinstance(value, keras.optimizers.Optimizer):
            value = optimizer_copy(value, fixed_rate=fixed_rate, moved=moved)
        elif any(id(leaf) in own for leaf in _leaves(value)):
            if optimizer.built or not isinstance(value, keras.Variable):
                continue  # slots; `build` makes others
            value = made.add_variable(
                value.shape, dtype=value.dtype, name=value.name
            )
            value.assign(getattr(optimizer, name))
        else:
            value = _copied(value)
        setattr(made, name, value)
    keras_private.move_excluded(made, *moved)
    return made


def has_schedule(optimizer: Any) -> bool:
    """Whether its learning rate cannot be set."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return callable(keras_private.rate_given(inner))


def _leaves(value: Any) -> list[Any]:
    """What is in lists and dicts."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _copied(value: Any) -> Any:
    """Containers anew, so that nothing is shared; all else as it is."""
    if isinstance(value, list | dict | set):
        return copy.copy(value)
    return value
