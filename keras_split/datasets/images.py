"""Images as arrays: their size, their channels, the range of their values."""

import functools
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Literal
from typing import cast

import numpy as np
from numpy.typing import NDArray

from keras_split.datasets.photo import Images
from keras_split.datasets.photos import Photos
from keras_split.errors import DataError

Labels = NDArray[Any]
Split = tuple[tuple[Images, Labels], tuple[Images, Labels]]
Preprocess = Literal["tf", "torch", "caffe"] | Callable[[Any], Any]

# ImageNet's mean and deviation per channel, as keras.applications has them.
_TORCH_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_TORCH_STD = np.array([0.229, 0.224, 0.225], np.float32)
_CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)
# How many images are resized at a time: 64 of 224x224x3 are 38 MB as float32.
_CHUNK = 64


def to_model_input(
    images: NDArray[Any] | Photos,
    input_shape: Sequence[int],
    preprocess: Preprocess | None = None,
) -> NDArray[np.float32]:
    """Makes images of any size what a model's input layer expects.

    Resizes with numpy alone (see `resize`), so a phone does the same as a
    server. Without `preprocess` the range stays: uint8 images give 0 to 255,
    what a `keras.applications` network's own `preprocess_input` expects.

    Args:
        images: Shape `(images, height, width)` or
            `(images, height, width, channels)` with 1 or 3 channels. What
            is done to `Photos` is done to each batch that is read.
        input_shape: `(height, width, channels)` of the model's input.
        preprocess: What happens to the values at the end. `"tf"` scales 0 to
            255 to -1 to 1; `"torch"` and `"caffe"` standardize RGB as
            `keras.applications` does under these names; a function gets the
            float32 array and returns one of the same shape.

    Returns:
        Shape `(images, *input_shape)`, float32, a new array; `Photos` of
        `Photos`.

    Raises:
        DataError: If `images` are no images, or the shape or the
            preprocessing is not one of those above.

    Example:
    >>> images = np.full((2, 28, 28), 255, np.uint8)
    >>> x = to_model_input(images, (96, 96, 3), "tf")
    >>> x.shape, x.dtype.name, round(float(x.max()), 3)
    ((2, 96, 96, 3), 'float32', 1.0)
    """
    height, width, channels = check_input_shape(input_shape)
    if isinstance(images, Photos):
        prepare = functools.partial(
            to_model_input, input_shape=input_shape, preprocess=preprocess
        )
        photos = images.map(prepare, (height, width, channels), np.float32)
        return cast("NDArray[np.float32]", photos)  # it looks like one
    images = np.asarray(images, np.float32)
    x: NDArray[np.float32] = resize(images, (height, width))
    x = to_channels(x, channels)
    if np.may_share_memory(x, images):
        x = x.copy()  # what follows writes in place
    if preprocess is None:
        return x
    if preprocess == "tf":
        x /= 127.5
        x -= 1.0
        return x
    if preprocess in ("torch", "caffe"):
        return _standardize(x, str(preprocess))
    if not callable(preprocess):
        raise DataError(
            'Expected preprocess to be None, "tf", "torch", "caffe" or a '
            f"function. Received: {preprocess!r}. See keras.applications."
            "imagenet_utils.preprocess_input for what the names mean."
        )
    result = np.asarray(preprocess(x), np.float32)
    if result.shape != x.shape:
        raise DataError(
            "Expected preprocess to keep the shape of the images, "
            f"{x.shape}. It returned {result.shape}. Resizing is done before "
            "it, to input_shape."
        )
    return result


def resize(images: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resizes images with bilinear weights, in numpy.

    An enlarged pixel is the mix of its nearest four; a shrunk one averages
    all that it covers, so fine patterns do not alias. The numbers are those
    of `tf.image.resize(images, size, antialias=True)`, to 0.01 of 255.

    Args:
        images: Shape `(images, height, width)` or
            `(images, height, width, channels)`.
        size: The new `(height, width)`.

    Returns:
        The images at that size and of the same dtype; integers are rounded.
        `images` themselves when the size is theirs already.

    Raises:
        DataError: If `images` are no images or `size` is not positive.
    """
    images = _check_images(images)
    if min(size) < 1:
        raise DataError(
            "Expected a height and width of at least 1 pixel. Received: "
            f"{size}. Give the size that the model's input has."
        )
    if images.shape[1:3] == tuple(size):
        return images
    rows = _weights(images.shape[1], size[0])
    columns = _weights(images.shape[2], size[1])
    channels = images.shape[3:]
    result = np.empty((len(images), *size, *channels), images.dtype)
    for start in range(0, len(images), _CHUNK):
        chunk: NDArray[Any] = images[start : start + _CHUNK]
        chunk = chunk.astype(np.float32)
        if channels:
            chunk = np.moveaxis(chunk, 3, 1)
        chunk = rows @ chunk @ columns.T
        if channels:
            chunk = np.moveaxis(chunk, 1, 3)
        if np.issubdtype(images.dtype, np.integer):
            chunk = np.rint(chunk)
        result[start : start + _CHUNK] = chunk
    return result


def to_channels(images: NDArray[Any], channels: int) -> NDArray[Any]:
    """Gives images one or three channels in a last axis.

    Gray becomes RGB by repetition; RGB becomes gray by its luma, 0.299 red,
    0.587 green and 0.114 blue (ITU-R BT.601), as Pillow does it.

    Args:
        images: Shape `(images, height, width)`, which counts as gray, or
            `(images, height, width, channels)`.
        channels: 1 or 3.

    Returns:
        Shape `(images, height, width, channels)`, the same dtype.

    Raises:
        DataError: If `images` are no images or `channels` is neither.
    """
    images = _check_images(images)
    if channels not in (1, 3):
        raise DataError(
            "Expected 1 channel (gray) or 3 (RGB). Received: "
            f"channels={channels!r}. Set the last number of the model's "
            "input shape to 1 or 3."
        )
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.shape[3] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=3)
    luma = images @ np.array([[0.299], [0.587], [0.114]], np.float32)
    if np.issubdtype(images.dtype, np.integer):
        luma = np.rint(luma)
    return luma.astype(images.dtype)


def check_input_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """Returns `(height, width, channels)`, or says why it cannot be used.

    Raises:
        DataError: If `input_shape` is anything but three positive numbers.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(
        isinstance(n, int | np.integer) and n > 0 for n in shape
    ):
        raise DataError(
            "Expected input_shape to be (height, width, channels), three "
            f"positive numbers. Received: {shape}. A model whose input size "
            "is open (None) needs one chosen here."
        )
    height, width, channels = shape
    return int(height), int(width), int(channels)


def _check_images(images: NDArray[Any]) -> NDArray[Any]:
    images = np.asarray(images)
    if (
        images.ndim not in (3, 4)
        or (images.ndim == 4 and images.shape[3] not in (1, 3))
        or 0 in images.shape
        or images.dtype.kind not in "uif"
    ):
        raise DataError(
            "Expected images as numbers of shape (images, height, width) or "
            "(images, height, width, channels) with 1 or 3 channels. "
            f"Received: {images.dtype} of shape {images.shape}. Add the "
            "missing axis with images[np.newaxis], or drop an alpha channel "
            "with images[..., :3]."
        )
    return images


def _weights(source: int, target: int) -> NDArray[np.float32]:
    """Says how much of each source pixel goes into each target pixel.

    Returns:
        Shape `(target, source)`, rows that sum to 1: a triangle around each
        target pixel's centre, as wide as the larger of both pixels.
    """
    ratio = source / target
    centre = (np.arange(target)[:, np.newaxis] + 0.5) * ratio - 0.5
    distance = np.abs(np.arange(source) - centre) / max(ratio, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32)


def _standardize(x: NDArray[np.float32], mode: str) -> NDArray[np.float32]:
    """Standardizes RGB in place, but for `"caffe"`, which turns it to BGR."""
    if x.shape[3] != 3:
        raise DataError(
            f"Expected three channels for preprocess={mode!r}, which "
            f"standardizes RGB. Received: images of shape {x.shape}. Set the "
            'last number of input_shape to 3, or use preprocess="tf".'
        )
    if mode == "torch":
        x /= 255.0
        x -= _TORCH_MEAN
        x /= _TORCH_STD
        return x
    x = np.ascontiguousarray(x[..., ::-1])
    x -= _CAFFE_MEAN_BGR
    return x
