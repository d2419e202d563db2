"""What a network of the zoo starts from, where that is not random."""

import logging
import os
import re
from pathlib import Path
from typing import Any

from keras_split.errors import DataError
from keras_split.errors import ZooError
from keras_split.models.weight_files import load_weights

_LOG = logging.getLogger("keras_split")


def load(model: Any, weights: str | os.PathLike[str], builder: Any) -> None:
    """Loads what fits into a model, and the halves cut from it.

    Args:
        model: The whole network.
        weights: `"imagenet"`, or the path of a file.
        builder: Built it; as those in `keras.applications`.

    Raises:
        ZooError: If they cannot be had, or the file is none of weights.
    """
    if weights == "imagenet":
        shape, classes = model.input_shape[1:], model.output_shape[-1]
        _load_imagenet(builder, model, shape, classes)
    else:
        _load_file(model, weights)


def _load_imagenet(
    builder: Any, model: Any, shape: tuple[int, ...], classes: int
) -> None:
    """Copies ImageNet weights layer by layer, where shapes fit."""
    whole = classes == 1000
    try:
        donor = builder(
            include_top=whole,
            weights="imagenet",
            input_shape=None if whole else shape,
        )
    except Exception as error:  # Keras raises a bare one
        raise ZooError(_not_downloaded(error)) from error
    # Layers correspond in order; the classifier has no donor.
    for source, target in zip(donor.layers, model.layers, strict=False):
        values = source.get_weights()
        fits = [v.shape for v in values] == [
            tuple(v.shape) for v in target.weights
        ]
        if values and fits and type(source) is type(target):
            target.set_weights(values)


def _load_file(model: Any, path: str | os.PathLike[str]) -> None:
    """Loads what fits of a file, and logs what does not."""
    try:
        loaded = load_weights(model, path)
    except DataError as error:
        raise ZooError(str(error)) from error
    level = logging.WARNING if loaded.skipped else logging.INFO
    _LOG.log(level, "%s", loaded)


def _not_downloaded(error: Exception) -> str:
    """Says how to have the ImageNet weights without a download."""
    expected = "Expected to download the ImageNet weights of Keras. Received: "
    found = re.search(r"URL fetch failure on (\S+): ", str(error))
    if found is None:
        return (
            f"{expected}{error} Look at the connection, or give the path of a "
            ".weights.h5, .h5 or .keras file."
        )
    url = found[1]
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    place = Path(home) / "models" / url.rpartition("/")[2]
    return (
        f"{expected}{str(error).rpartition(' -- ')[2] or 'no answer'}. Fetch "
        f"{url} where there is a connection, and put it to {place}; or pass "
        "the file as weights."
    )
