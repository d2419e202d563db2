"""Which optimizers can update a model in parts."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_split.errors import OptionError
from keras_split.utils import keras_private


def check_optimizer(optimizer: Any) -> None:
    """Refuses an optimizer that would not do what it does unsplit.

    Args:
        optimizer: As for `compile`: also a name, or None.

    Raises:
        OptionError: If it has several learning rates, or averages weights.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(inner, keras.optimizers.MultiOptimizer):
        raise OptionError(
            "Expected an optimizer with one learning rate, which travels "
            "with each step. Received: a MultiOptimizer, which has several. "
            "Compile with one of its optimizers."
        )
    if getattr(inner, "use_ema", False):
        raise OptionError(
            "Expected an optimizer with use_ema=False: at the end of fit "
            "Keras puts averages in the place of weights, of which the phone "
            f"has only its own. Received: {type(inner).__name__}("
            "use_ema=True). Leave it out."
        )


def check_knows(optimizer: Any, variables: Sequence[Any]) -> None:
    """Refuses an optimizer that was built for other variables.

    Args:
        optimizer: Of a server's own, built or not.
        variables: Of the body, that are trained.

    Raises:
        OptionError: If it does not know one.
    """
    strange = keras_private.unknown_to(optimizer, variables)
    if strange:
        raise OptionError(
            "Expected an optimizer that was built for all weights that the "
            "body trains. Received: one that does not know "
            f"{strange[0].path!r}: its layer was frozen then, or it is the "
            "optimizer of another model. Compile the server with a new one: "
            "server.compile(optimizer)."
        )
