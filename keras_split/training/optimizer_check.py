"""Which optimizers can update a model in parts."""

from typing import Any

import keras

from keras_split.errors import OptionError


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
