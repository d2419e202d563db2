"""A cheap hint at what smashed data tells of the input, for each cut.

It is no audit: nobody tries to reconstruct anything. It is there to compare
the cuts of one network with each other.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_split.errors import DataError
from keras_split.planner.candidates import Candidate

FEWEST, MOST = 16, 128


def leakages(
    model: Any, candidates: Sequence[Candidate], x: Any
) -> list[float]:
    """The distance correlation of input and smashed data, for each cut.

    Of the model as it is, called as for inference, before quantization and
    defenses.

    Args:
        model: A Keras model with one input.
        candidates: Cuts of it.
        x: Examples, at least `FEWEST`; the first `MOST` are used.

    Returns:
        From 0 (nothing in common) to 1 (the smashed data is the input, moved,
        turned and scaled). Few examples make it too large, alike for all.

    Raises:
        DataError: If there are too few examples, or they do not fit.
    """
    from keras import ops

    from keras_split.defenses.distance_correlation import distance_correlation
    from keras_split.partition import Partition

    batch = np.asarray(x)[:MOST]
    shape = tuple(model.inputs[0].shape[1:])
    fits = batch.ndim == 1 + len(shape) and all(
        wanted in (None, size)
        for wanted, size in zip(shape, batch.shape[1:], strict=True)
    )
    if len(model.inputs) != 1 or not fits or len(batch) < FEWEST:
        raise DataError(
            f"Expected {FEWEST} examples or more of shape {shape}, for a model "
            f"with one input. Received: {batch.shape}, for one with "
            f"{len(model.inputs)}. Pass what the model is trained with, or no "
            "data."
        )

    def flat(value: Any) -> Any:
        value = ops.cast(ops.convert_to_tensor(value), "float32")
        return ops.reshape(value, (len(batch), -1))

    image = flat(batch)
    found: dict[tuple[str, ...], float] = {}
    for candidate in candidates:
        first = candidate.cut[0]
        if first not in found:
            parts = Partition(model, candidate.layers)
            made = parts.head.model([batch], training=False)
            values = made if isinstance(made, (list, tuple)) else [made]
            smashed = ops.concatenate(
                [flat(value) for value in values[: len(parts.smashed)]], 1
            )
            squared = distance_correlation(image, smashed, len(batch))
            found[first] = float(np.sqrt(max(float(squared), 0.0)))
    return [found[candidate.cut[0]] for candidate in candidates]
