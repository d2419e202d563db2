"""What a network of keras_hub starts from, where that is not random."""

import dataclasses
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from keras_split.errors import DataError
from keras_split.errors import ZooError
from keras_split.zoo.lookup import resolve
from keras_split.zoo.preset import Weights

if TYPE_CHECKING:
    import keras

_LOG = logging.getLogger("keras_split")
_HANDLES = ("kaggle://", "hf://", "modelscope://")


def check(weights: Weights, backbone: str, example: str) -> None:
    """Refuses what is neither there nor a name that keras_hub knows.

    Args:
        weights: As in `TextPreset.build`.
        backbone: Class of keras_hub, as `"module:class"`.
        example: A name of its own, if it has one.

    Raises:
        ZooError: If it is none of them.
    """
    if weights is None or Path(weights).exists():
        return
    text = str(weights)
    if text.startswith(_HANDLES) or text in resolve(backbone).presets:
        return
    known = f"a name of keras_hub such as {example!r}" if example else "a name"
    raise ZooError(
        f"Expected weights=None, {known}, an address that begins with "
        f"{', '.join(_HANDLES)}, a folder that was downloaded from there, or "
        "the path of a .weights.h5, .h5 or .keras file. Received: "
        f"{text!r}, which is none."
    )


def load(model: "keras.Model", weights: Weights, backbone: str) -> None:
    """Loads what fits into a model, and the halves cut from it.

    Args:
        model: The whole network.
        weights: As in `TextPreset.build`, but None.
        backbone: Class of keras_hub, as `"module:class"`.

    Raises:
        ZooError: If they cannot be had, or nothing fits.
    """
    from keras_split.models.weight_files import load_weights

    assert weights is not None
    try:
        if Path(weights).is_file():
            loaded = load_weights(model, weights)
        else:
            donor = _downloaded(str(weights), backbone)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "donor.weights.h5"
                donor.save_weights(path)
                loaded = load_weights(model, path)
            loaded = dataclasses.replace(loaded, path=str(weights))
    except DataError as error:
        raise ZooError(str(error)) from error
    level = logging.WARNING if loaded.skipped else logging.INFO
    _LOG.log(level, "%s", loaded)


def _downloaded(handle: str, backbone: str) -> "keras.Model":
    """The backbone that keras_hub has of a name, a folder or an address."""
    kind = resolve(backbone)
    try:
        model: keras.Model = kind.from_preset(handle)
    except Exception as error:  # of keras_hub, Kaggle, Hugging Face, requests
        raise ZooError(
            f"Expected weights of {kind.__name__} at {handle!r}, which "
            f"keras_hub fetches once. Received: {type(error).__name__}: "
            f"{str(error)[:300]} Look at the name and the connection; or pass "
            "the folder that keras_hub has downloaded where there is one, or a "
            "file that model.save_weights wrote."
        ) from error
    return model
