"""What the data of a model must be: its classes and the scale of its images."""

import functools
import hashlib
import json
import math
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np

from keras_split.datasets.class_list import check_class_names
from keras_split.errors import DataError
from keras_split.protocol.data_digest import DataDigest

_Numbers = tuple[float, ...]
_CHUNK = 64  # images that are scaled at a time: 38 MB at 224x224x3


@dataclass(frozen=True)
class DataSpec:
    """What a model's data must be, beyond the shapes of its inputs.

    It lies in client.keras and client.json, so that whoever trains on, or
    predicts, numbers the classes and scales the images as those before. A
    server is shown a hash of it and refuses who says otherwise.

    Args:
        class_names: Names in the order of the labels; empty if not known.
        matrix: Images with values from 0 to 255 become `x @ matrix +
            offset`: rows of one number a channel. Empty if they are taken as
            they are, as by a model that begins with a `Rescaling` layer, or
            if what is done to them is not known.
        offset: One number a channel; zeros if only a matrix is given.

    Raises:
        DataError: If a name is empty or there twice, the matrix is not
            square or not finite, or the offset does not go with it.

    Example:
    >>> spec = DataSpec.of(lambda x: x / 127.5 - 1.0, ["cat", "dog"])
    >>> spec.class_names, spec.offset
    (('cat', 'dog'), (-1.0, -1.0, -1.0))
    >>> spec.scale(np.full((1, 2, 2, 3), 255)).max()
    np.float32(1.0)
    """

    class_names: tuple[str, ...] = ()
    matrix: tuple[_Numbers, ...] = ()
    offset: _Numbers = ()

    def __post_init__(self) -> None:
        names = self.class_names
        if not isinstance(names, str):  # which has a refusal of its own
            names = tuple(_items(names, "class_names"))
        names = check_class_names(names)
        matrix = tuple(map(_numbers, _items(self.matrix, "matrix")))
        offset = _numbers(self.offset)
        if matrix and not offset:
            offset = (0.0,) * len(matrix)
        square = all(len(row) == len(matrix) for row in matrix)
        values = [*offset, *(value for row in matrix for value in row)]
        if not square or len(offset) != len(matrix):
            raise DataError(
                "Expected a matrix with a row, and in each row a number, for "
                "each channel of the images, and an offset with one number a "
                f"channel. Received: rows of {[len(row) for row in matrix]} "
                f"numbers and an offset of {len(offset)}. DataSpec.of makes "
                "both from a function."
            )
        if not all(map(math.isfinite, values)):
            raise DataError(
                "Expected finite numbers in matrix and offset. Received: NaN "
                "or infinity. Look for a division by a deviation of 0."
            )
        for name, value in zip(
            self.__dataclass_fields__, (names, matrix, offset), strict=True
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        preprocess: Callable[..., Any],
        class_names: Iterable[str] = (),
        channels: int = 3,
    ) -> "DataSpec":
        """The spec of a preprocessing function.

        Those of `keras.applications` scale, shift and swap the channels of an
        image, so one unit vector a channel tells all about them.

        Args:
            preprocess: Takes images with values from 0 to 255, shape
                `(images, height, width, channels)`, and returns as many.
            class_names: Names in the order of the labels.
            channels: Of the images.

        Raises:
            DataError: If it does something else, which is known when it is
                tried on a few random pixels.
        """

        def run(pixels: Any) -> Any:
            made = np.asarray(preprocess(pixels.copy()), "float64")
            return made.reshape(*pixels.shape)  # raises if it is another

        units = np.concatenate(
            [np.zeros((1, channels)), 255.0 * np.eye(channels)]
        )
        # Of several images, rows and columns: each pixel by itself counts.
        probe = np.random.default_rng(0).uniform(0, 255, (2, 3, 4, channels))
        try:
            made = run(units[:, np.newaxis, np.newaxis])[:, 0, 0]
            matrix, offset = (made[1:] - made[0]) / 255.0, made[0]
            expected = probe @ matrix + offset
            room = 2e-6 * np.abs(expected).max()
            if not np.allclose(run(probe), expected, rtol=0.0, atol=room):
                raise ValueError("its values are no such sum")
        except Exception as error:  # whatever a function of others raises
            raise DataError(
                "Expected preprocessing that scales, shifts and mixes the "
                "channels of each pixel, x @ matrix + offset, which client."
                f"keras and client.json can hold. Received: {preprocess!r} "
                f"({error}). Make what else it does a layer of the model."
            ) from error
        return cls(
            tuple(class_names),
            np.round(matrix, 12).tolist(),
            np.round(offset, 9).tolist(),
        )

    def named(self, class_names: Iterable[str]) -> "DataSpec":
        """The same scale, and these classes."""
        return replace(self, class_names=tuple(class_names))

    def scale(self, images: Any) -> np.ndarray[Any, Any]:
        """Images as the model takes them.

        Args:
            images: Values from 0 to 255, shape `(images, ..., channels)`.

        Returns:
            The same shape, float32, a new array; the values as they are if
            there is no matrix.

        Raises:
            DataError: If they have other channels.
        """
        return self.scale_in_place(np.array(images, np.float32))

    def scale_in_place(
        self, images: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """Like `scale`; a float32 array that may be is written over."""
        images = np.require(images, np.float32, "W")
        if not self.matrix:
            return images
        matrix = np.asarray(self.matrix, np.float32)
        offset = np.asarray(self.offset, np.float32)
        if images.shape[-1:] != offset.shape:
            raise DataError(
                f"Expected images of {len(offset)} channels in their last "
                f"axis. Received: shape {images.shape}. datasets."
                "to_model_input gives them as many as the model takes."
            )
        factors = np.diagonal(matrix)
        if np.array_equal(np.diag(factors), matrix):
            images *= factors
        else:
            for start in range(0, len(images), _CHUNK):
                images[start : start + _CHUNK] @= matrix
        images += offset
        return images

    @functools.cached_property
    def digest(self) -> DataDigest:
        """What a server may know of it: two hashes, empty if nothing is said.

        They are the same on every machine, so numbers are rounded first.
        """
        # -0.0 is 0.0, and so is what is left of a rounding.
        numbers = [
            f"{round(value, 9) + 0.0:.6g}"
            for row in (*self.matrix, self.offset)
            for value in row
        ]
        return DataDigest(_hash(self.class_names), _hash(numbers))

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "class_names": list(self.class_names),
            "matrix": [list(row) for row in self.matrix],
            "offset": list(self.offset),
        }

    @classmethod
    def get(cls, identifier: "DataSpec | dict[str, Any] | None") -> "DataSpec":
        """A spec from itself or from its config; None says nothing.

        Raises:
            DataError: If it is none of them.
        """
        if isinstance(identifier, cls):
            return identifier
        config = {} if identifier is None else identifier
        known = set(cls.__dataclass_fields__)
        if not isinstance(config, dict) or not set(config) <= known:
            raise DataError(
                "Expected a keras_split.DataSpec, or its config. Received: "
                f"{identifier!r}. Pass DataSpec(class_names=('cat', 'dog'))."
            )
        return cls(**config)


def _items(values: Any, what: str) -> list[Any]:
    try:
        return list(values)
    except TypeError as error:
        raise DataError(
            f"Expected a sequence as {what}. Received: {values!r}."
        ) from error


def _numbers(values: Any) -> _Numbers:
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise DataError(
            "Expected numbers in matrix and offset. Received: "
            f"{values!r}. A matrix is a row of numbers for each channel."
        ) from error


def _hash(values: Iterable[str]) -> str:
    items = list(values)
    if not items:
        return ""
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()
