"""Random changes of the images of a training, by layers of Keras.

They stand before the head and not in it: what the phone does to its own
images concerns nobody else, so the fingerprint that both halves share and the
file that is saved or exported stay what they were. They act before the values
are scaled, where 0 is black and 255 is white.
"""

from typing import TYPE_CHECKING
from typing import Any

import click
import numpy as np

from keras_split.errors import DataError
from keras_split_cli import name_values

if TYPE_CHECKING:
    import keras

_OPTION = "--augment"
# Class of the layer, and how much where nobody says.
_KINDS: dict[str, tuple[str, float | None]] = {
    "flip": ("RandomFlip", None),
    "rotate": ("RandomRotation", 0.05),
    "zoom": ("RandomZoom", 0.1),
    "translate": ("RandomTranslation", 0.1),
    "contrast": ("RandomContrast", 0.2),
    "brightness": ("RandomBrightness", 0.2),
}
_OF_VALUES = ("contrast", "brightness")


class AugmentationType(click.ParamType):  # type: ignore[type-arg]
    """Reads `flip,rotate=0.1`, before Keras is there and images are read."""

    name = "changes"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Kinds, each with its amount."""
        if not isinstance(value, str):
            return value
        return [
            (kind, _amount(kind, amount))
            for kind, amount in name_values.parse(value)
        ]


class Augmentation:
    """Changes the images of a batch at random, each in its own way.

    How depends on the seed, the epoch and the number of the batch alone, so
    that a resumed training sees the same images.

    Args:
        kinds: What `AugmentationType` read, in the order in which they act.
        images: Of the training, to see whether white is 255 or 1.
        seed: Decides what changes.

    Raises:
        DataError: If values of images change, and they lie in neither range.
    """

    def __init__(
        self,
        kinds: list[tuple[str, float | None]],
        images: np.ndarray[Any, Any],
        seed: int,
    ) -> None:
        import keras

        self._seed = abs(seed)
        self._generator = keras.random.SeedGenerator(0)
        self._layers = [_layer(kind, amount, images) for kind, amount in kinds]

    def __call__(
        self, images: np.ndarray[Any, Any], epoch: int, batch: int
    ) -> np.ndarray[Any, Any]:
        """Changes a batch.

        Args:
            images: Shape `(batch, height, width, channels)`.
            epoch: Number of the epoch.
            batch: Number of the batch in it.

        Returns:
            The same shape, float32.
        """
        entropy = np.random.SeedSequence([self._seed, epoch, batch])
        self._generator.state.assign(entropy.generate_state(2))
        changed: Any = images.astype(np.float32)
        for layer in self._layers:
            chosen = layer.get_random_transformation(
                changed, training=True, seed=self._generator
            )
            changed = layer.transform_images(changed, chosen, training=True)
        return np.array(changed)


def _amount(kind: str, amount: float | None) -> float | None:
    """How much, as a kind has it; None for one that has no amount."""
    if kind not in _KINDS:
        raise click.BadParameter(
            f"Expected some of {', '.join(_KINDS)}, between commas. Received: "
            f"{kind!r}."
        )
    _, usual = _KINDS[kind]
    if amount is None or usual is None:
        if amount is not None:
            raise click.BadParameter(
                f"Expected {kind} without an amount: half of the images are "
                f"mirrored. Received: {kind}={amount:g}."
            )
        return usual
    if not 0 < amount < 1:
        raise click.BadParameter(
            f"Expected a share above 0 and below 1 for {kind}, such as "
            f"{usual:g}. Received: {amount:g}."
        )
    return amount


def _layer(
    kind: str, amount: float | None, images: np.ndarray[Any, Any]
) -> "keras.layers.Layer":
    import keras

    make = getattr(keras.layers, _KINDS[kind][0])
    if kind == "flip":
        return make("horizontal", dtype="float32")
    if kind == "translate":
        return make(amount, amount, dtype="float32")
    if kind in _OF_VALUES:
        return make(amount, value_range=_value_range(images), dtype="float32")
    return make(amount, dtype="float32")


def _value_range(images: np.ndarray[Any, Any]) -> tuple[float, float]:
    """From black to white."""
    if np.issubdtype(images.dtype, np.integer):
        return (0.0, 255.0)
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 255:
        raise DataError(
            f"Expected images from 0 to 255, or from 0 to 1, for {_OPTION} "
            f"{' and '.join(_OF_VALUES)}. Received: from {low:g} to {high:g}. "
            "Save them before they are scaled, or leave these two out."
        )
    return (0.0, 255.0 if high > 1 else 1.0)
