"""Images to train on: a real data set in the package, folders, archives.

`load("fashion_mnist")` needs no network: 6,000 training and 2,000 test
images come with keras_split. Importing this package loads numpy and nothing
else; Keras and Pillow are imported by the functions that need them.
"""

from typing import Any
from typing import Protocol

from numpy.typing import NDArray

from keras_split.datasets import fashion_mnist
from keras_split.datasets.archive import load_npz
from keras_split.datasets.class_list import read_class_names
from keras_split.datasets.folder import ImageFolder
from keras_split.datasets.folder import load_folder
from keras_split.datasets.images import Split
from keras_split.datasets.images import resize
from keras_split.datasets.images import to_channels
from keras_split.datasets.images import to_model_input
from keras_split.datasets.photos import Photos
from keras_split.datasets.photos import read_ahead
from keras_split.errors import DataError

__all__ = [
    "ImageFolder",
    "Photos",
    "batches",
    "class_names",
    "fashion_mnist",
    "load",
    "load_folder",
    "load_npz",
    "names",
    "read_ahead",
    "read_class_names",
    "resize",
    "to_channels",
    "to_model_input",
]


class _Source(Protocol):
    """What a module of a built-in data set has."""

    CLASS_NAMES: tuple[str, ...]

    def load_subset(self) -> Split: ...

    def load_full(self) -> Split: ...


_BUILT_IN: dict[str, _Source] = {"fashion_mnist": fashion_mnist}


def names() -> tuple[str, ...]:
    """Lists the data sets that `load` knows."""
    return tuple(_BUILT_IN)


def class_names(name: str = "fashion_mnist") -> tuple[str, ...]:
    """Names the classes of a built-in data set, in the order of its labels.

    Raises:
        DataError: If there is no data set of that name.
    """
    _check_name(name)
    return _BUILT_IN[name].CLASS_NAMES


def load(
    name: str = "fashion_mnist",
    *,
    subset: bool = True,
    size: int | None = None,
    channels: int | None = None,
) -> Split:
    """Loads a built-in data set as `keras.datasets` would.

    Args:
        name: One of `names()`.
        subset: `True` for the images that come with keras_split, `False` for
            the whole set (see `fashion_mnist.load_full`).
        size: Height and width to resize the images to; `None` keeps theirs.
        channels: 1 or 3 adds a last axis of that length; `None` keeps the
            shape that the data set has, for Fashion-MNIST
            `(images, 28, 28)`.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, all uint8. Images hold 0 to
        255.

    Raises:
        DataError: If there is no data set of that name, `size` or `channels`
            is not allowed, or the whole set cannot be had.

    Example:
    >>> (x_train, y_train), _ = load("fashion_mnist", size=32, channels=3)
    >>> x_train.shape, y_train.shape
    ((6000, 32, 32, 3), (6000,))
    """
    _check_name(name)
    data = _BUILT_IN[name]
    train, test = data.load_subset() if subset else data.load_full()
    x_train, x_test = train[0], test[0]
    if size is not None:
        x_train = resize(x_train, (size, size))
        x_test = resize(x_test, (size, size))
    if channels is not None:
        x_train = to_channels(x_train, channels)
        x_test = to_channels(x_test, channels)
    return (x_train, train[1]), (x_test, test[1])


def batches(
    x: Any,
    y: NDArray[Any],
    batch_size: int,
    seed: int | None = None,
    epoch: int = 0,
) -> Any:
    """Cuts images into batches for `fit` and `evaluate` of a Keras model.

    `Photos` are read as they are needed, some batches ahead, so that only
    those are in memory. The order depends on seed and epoch alone.
    `keras_split.device.batches` is the same for a device.

    Args:
        x: `Photos`, or an array of shape `(examples, ...)`.
        y: Labels of the same examples.
        batch_size: Examples in a batch; the last one may have fewer.
        seed: Decides the order of each epoch; None keeps the examples as
            they are.
        epoch: The epoch to begin with, for a training that goes on.

    Returns:
        A `keras.utils.PyDataset`. Pass `shuffle=False` with it, for Keras
        would put the batches in an order of its own.

    Raises:
        DataError: If there are not as many labels as examples, or a batch
            would have none.
    """
    from keras_split.datasets.keras_batches import KerasBatches

    if len(x) != len(y) or batch_size < 1:
        raise DataError(
            "Expected a label for each example, and batches of 1 or more. "
            f"Received: {len(x)} examples, {len(y)} labels, and batch_size="
            f"{batch_size}. Cut both alike."
        )
    return KerasBatches(x, y, batch_size, seed, epoch)


def _check_name(name: str) -> None:
    if name not in _BUILT_IN:
        raise DataError(
            f"Expected a built-in data set: {', '.join(_BUILT_IN)}. "
            f"Received: {name!r}. Your own images are read with "
            "`load_folder` (a folder by class) or `load_npz`."
        )
