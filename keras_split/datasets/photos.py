"""Many image files, read by several threads and, if wanted, only when used."""

import copy
import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from typing import NamedTuple
from typing import TypeVar

import numpy as np

from keras_split.datasets import photo
from keras_split.datasets.photo import Images
from keras_split.errors import DataError

_T = TypeVar("_T")
Progress = Callable[[int, int], object]

# Pillow lets other threads run while it decodes. Each holds one photo in
# full size, about 100 MB for 12 megapixels with what it is converted to.
THREADS = min(4, os.cpu_count() or 1)
_SHOWN = 20  # problems in one error
_AT_A_TIME = 1024  # files handed to the threads


class Problem(NamedTuple):
    """A file that gives no image.

    Attributes:
        path: Of the file.
        reason: A few words.
    """

    path: Path
    reason: str


def read_photos(
    files: Sequence[Path],
    shape: tuple[int, int, int],
    out: Images | None = None,
    progress: Progress | None = None,
) -> list[Problem]:
    """Reads all files, whatever is wrong with some.

    Args:
        files: To read.
        shape: Height, width and channels of each image.
        out: What to read into, uint8 of shape `(files, *shape)`; None to see
            only whether they can be read.
        progress: Called with `(files_read, files_in_all)` after each.

    Returns:
        The files that cannot be read, in their order.

    Raises:
        BackendError: If Pillow is not installed.
    """
    photo.pillow()

    def read(row: int) -> str | None:
        try:
            pixels = photo.read_photo(files[row], shape)
        except photo.PhotoError as error:
            return str(error)
        if out is not None:
            out[row] = pixels
        return None

    problems = []
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(files), _AT_A_TIME):
            rows = range(start, min(start + _AT_A_TIME, len(files)))
            for row, reason in zip(rows, pool.map(read, rows), strict=True):
                if reason is not None:
                    problems.append(Problem(files[row], reason))
                if progress is not None:
                    progress(row + 1, len(files))
    return problems


def unreadable(problems: Sequence[Problem], count: int) -> DataError:
    """The error that names them all.

    Args:
        problems: At least one.
        count: How many files there were.
    """
    return DataError(
        f"Expected images that can be read. Received: {len(problems):,} that "
        f"cannot, of {count:,} files:\n{listed(problems)}\nReplace or remove "
        "them, or leave them out with --skip-unreadable (in Python "
        "skip_unreadable=True)."
    )


def read_ahead(batches: Iterator[_T]) -> Iterator[_T]:
    """Makes the next batch in a thread, while the caller works on this one.

    Args:
        batches: None of them is None.
    """
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def listed(problems: Sequence[Problem]) -> str:
    """A line for each, up to twenty, and how many more."""
    lines = [f"  {path}: {reason}" for path, reason in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  and {len(problems) - _SHOWN:,} more")
    return "\n".join(lines)


class Photos:
    """Images in files, which looks like an array of them.

    They are read when they are asked for: `photos[10:20]`, or `photos[rows]`
    with an array of places, reads those; numpy's functions read all.

    Args:
        files: One an image.
        shape: Height, width and channels that they are read at.

    Attributes:
        dtype: As of an array; uint8 until `map` makes others of them.
    """

    ndim = 4

    def __init__(
        self, files: Sequence[Path], shape: tuple[int, int, int]
    ) -> None:
        self._files = files
        self._shape_in_files = self._shape = shape
        self._functions: tuple[Callable[[Any], Any], ...] = ()
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(images, height, width, channels)`, as of an array."""
        return (len(self._files), *self._shape)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, rows: Any) -> Any:
        """One image, or the images at some places; all of them stay files.

        Raises:
            DataError: If one cannot be read any more.
        """
        everything = np.arange(len(self))
        places = everything[rows]
        if isinstance(rows, slice) and np.array_equal(places, everything):
            return self
        if not places.ndim:
            return self[places[np.newaxis]][0]
        if not places.size:
            return np.empty((0, *self._shape), self.dtype)
        files = [self._files[place] for place in places]
        images: Any = np.empty((len(files), *self._shape_in_files), np.uint8)
        problems = read_photos(files, self._shape_in_files, images)
        if problems:
            raise unreadable(problems, len(files))
        for function in self._functions:
            images = function(images)
        return images

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        """All images in memory, for numpy; always a copy."""
        del copy
        return np.asarray(self[np.arange(len(self))], dtype)

    def only(self, rows: np.ndarray[Any, Any]) -> "Photos":
        """The photos at some places, which stay in their files.

        Args:
            rows: Places, in the order in which they come.
        """
        chosen = copy.copy(self)
        chosen._files = [self._files[place] for place in rows]
        return chosen

    def map(
        self,
        function: Callable[[Any], Any],
        shape: tuple[int, int, int],
        dtype: Any,
    ) -> "Photos":
        """These photos, with a function called on each batch that is read.

        Args:
            function: Takes the images that `self[rows]` would give.
            shape: Height, width and channels of what it returns.
            dtype: Of what it returns.
        """
        mapped = copy.copy(self)
        mapped._functions = (*self._functions, function)
        mapped._shape = shape
        mapped.dtype = np.dtype(dtype)
        return mapped
