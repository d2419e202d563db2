"""What the numbers of an output mean, and the same as one a class."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_split.errors import DataError

PROBABILITY = "probability"  # as a softmax or a sigmoid makes them
LOGITS = "logits"  # what those would be made of
SCORE = "score"  # the larger, the likelier; nobody knows more
UNKNOWN = ""  # nobody said, so the numbers are looked at
_ROUNDED = 1e-2  # sums of bfloat16 are that far from 1


def by_class(
    outputs: NDArray[Any], meaning: str = UNKNOWN
) -> tuple[NDArray[np.float64], str]:
    """Outputs as one number for each class, probabilities if they are known.

    Args:
        outputs: Shape `(images, classes)`; `(images,)` or `(images, 1)` for
            the second of two classes, if they are probabilities or logits.
        meaning: `PROBABILITY`, `LOGITS`, `SCORE` or `UNKNOWN`.

    Returns:
        Shape `(images, classes)`, and `PROBABILITY` or `SCORE`.

    Raises:
        DataError: If there is not one number a class, or it is not finite.

    Example:
    >>> by_class(np.array([[0.0, 0.0]]), LOGITS)
    (array([[0.5, 0.5]]), 'probability')
    >>> by_class(np.array([[0.25]]), PROBABILITY)
    (array([[0.75, 0.25]]), 'probability')
    """
    values = np.asarray(outputs, np.float64)
    if values.ndim == 1:
        values = values[:, np.newaxis]
    if values.ndim != 2:
        raise DataError(
            "Expected one number a class for each image. Received: outputs of "
            f"shape {values.shape[1:]}. Look at them in Python, with "
            "model.predict."
        )
    check_finite(values)
    one = values.shape[1] == 1
    if meaning == LOGITS:
        values = _sigmoid(values) if one else _softmax(values)
        meaning = PROBABILITY
    elif meaning == UNKNOWN:
        meaning = PROBABILITY if _sums_to_1(values) else SCORE
    if meaning == PROBABILITY and not _within_1(values):
        raise DataError(
            "Expected probabilities, from 0 to 1. Received: outputs from "
            f"{values.min():g} to {values.max():g}. Logits are known as such "
            "if the model is compiled with from_logits=True."
        )
    if one and meaning == PROBABILITY:
        values = np.concatenate([1.0 - values, values], axis=1)
    return values, meaning


def check_finite(values: NDArray[Any]) -> None:
    """Refuses outputs of which some are no numbers.

    Raises:
        DataError: If there are.
    """
    wrong = int((~np.isfinite(values)).any(axis=-1).sum())
    if wrong:
        raise DataError(
            "Expected finite outputs. Received: NaN or infinity for "
            f"{wrong:,} of {len(values):,} images. The training diverged, or "
            "the images are not scaled as it wants them."
        )


def _within_1(values: NDArray[np.float64]) -> bool:
    return bool(((values >= -_ROUNDED) & (values <= 1 + _ROUNDED)).all())


def _sums_to_1(values: NDArray[np.float64]) -> bool:
    if values.shape[1] == 1:  # a probability, or a regression
        return False
    sums = values.sum(axis=1)
    return bool((values >= 0).all() and (np.abs(sums - 1) < _ROUNDED).all())


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    made: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return made


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    made: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return made
