"""The images that `predict` is given: files, folders, archives."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_split import datasets
from keras_split.datasets import photo
from keras_split.errors import DataError
from keras_split.utils import npz

_Array = np.ndarray[Any, Any]
_Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Photo:
    """One image that may be read.

    Attributes:
        name: Its file, or its place in an archive.
        read: Gives uint8 of the shape that a model takes.
    """

    name: str
    read: Callable[[_Shape], _Array]


def find(sources: Sequence[str]) -> list[Photo]:
    """All images, in the order of the sources and in them of their names.

    Args:
        sources: Files; folders, whose images may lie in folders in them; and
            .npz with images in `x`.

    Raises:
        DataError: If a source is not there, or has no images.
    """
    return [found for source in sources for found in _of(source)]


def _of(source: str) -> list[Photo]:
    path = Path(source)
    if path.suffix.lower() == ".npz":
        return list(_archive(path))
    if path.is_dir():
        files = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in photo.SUFFIXES
            and file.is_file()
            and not _hidden(file.relative_to(path))
        )
        if not files:
            raise DataError(
                f"Expected images ({', '.join(photo.SUFFIXES)}) in the "
                f"folder {source!r}. Received: none."
            )
        return [_file(file) for file in files]
    if not path.is_file():
        raise DataError(
            "Expected an image, a folder of images or an .npz. Received: "
            f"{source!r}, which is not there."
        )
    return [_file(path)]


def _file(path: Path) -> Photo:
    return Photo(str(path), lambda shape: _read(path, shape))


def _read(path: Path, shape: _Shape) -> _Array:
    try:
        made: _Array = photo.read_photo(path, shape)
    except photo.PhotoError as error:
        raise DataError(f"{path}: {error}") from error
    return made


def _archive(path: Path) -> Iterator[Photo]:
    advice = "Write it with numpy.savez(path, x=images)."
    if not path.is_file():
        raise DataError(
            f"Expected an .npz file: {path}. There is no such file. {advice}"
        )
    try:
        arrays = npz.read(path)
    except npz.BrokenError as error:
        raise DataError(
            f"Expected an .npz file of plain arrays: {path}. It cannot be "
            f"read: {error}. {advice}"
        ) from error
    for name in ("x", "x_test", "x_val"):
        if name in arrays:
            break
    else:
        raise DataError(
            f"Expected images in an array x of {path}. Received: "
            f"{', '.join(sorted(arrays)) or 'none'}. {advice}"
        )
    images = arrays[name]
    if not images.ndim or not len(images):
        raise DataError(
            f"Expected images in the array {name} of {path}. Received: shape "
            f"{images.shape}. {advice}"
        )
    for row in range(len(images)):
        yield Photo(f"{path}[{row}]", _taken(images, row))


def _taken(images: _Array, row: int) -> Callable[[_Shape], _Array]:
    return lambda shape: datasets.to_model_input(images[row : row + 1], shape)[
        0
    ]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
