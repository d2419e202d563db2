"""An .npz archive of images and labels, as numpy writes it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_split.datasets.images import Labels
from keras_split.errors import DataError
from keras_split.utils import npz
from keras_split.utils.counted import counted

_LAYOUTS = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("x_train", "y_train", "x_val", "y_val"),
    ("x_train", "y_train"),
    ("x", "y"),
)


def load_npz(
    path: str | os.PathLike[str],
) -> tuple[tuple[NDArray[Any], Labels], tuple[NDArray[Any], Labels] | None]:
    """Reads images and labels from an archive that `numpy.savez` wrote.

    The arrays are named `x` and `y`, or `x_train` and `y_train` with or
    without `x_test` and `y_test` (`x_val` and `y_val` will do). Pickled
    objects are not loaded, because loading them can run code.

    Returns:
        `(x, y), (x_test, y_test)`, or `(x, y), None` without test data;
        dtypes and shapes as stored.

    Raises:
        DataError: If the file is missing, is no such archive, or its arrays
            cannot be trained on; the message names the file and the array.
    """
    path = Path(path)
    arrays = _read(path)
    layout = next((n for n in _LAYOUTS if set(n) <= set(arrays)), None)
    if layout is None:
        raise DataError(
            "Expected arrays x and y, or x_train and y_train, perhaps with "
            f"x_test and y_test, in {path}. Received: "
            f"{', '.join(sorted(arrays)) or 'none'}. Write it with "
            "numpy.savez(path, x=images, y=labels)."
        )
    for x_name, y_name in zip(layout[::2], layout[1::2], strict=True):
        _check(path, x_name, arrays[x_name], y_name, arrays[y_name])
    x, y, *test = (arrays[name] for name in layout)
    return (x, y), ((test[0], test[1]) if test else None)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    advice = "Write it with numpy.savez(path, x=images, y=labels)."
    if not path.is_file():
        raise DataError(
            f"Expected an .npz file: {path}. There is no such file. {advice}"
        )
    try:
        return npz.read(path)
    except npz.BrokenError as error:
        raise DataError(
            f"Expected an .npz file of plain arrays: {path}. It cannot be "
            f"read: {error}. {advice}"
        ) from error


def _check(
    path: Path,
    x_name: str,
    x: NDArray[Any],
    y_name: str,
    y: NDArray[Any],
) -> None:
    for name, array in ((x_name, x), (y_name, y)):
        if array.ndim == 0 or array.dtype.kind not in "buif" or not array.size:
            raise DataError(
                f"Expected numbers, one row an example, in array {name!r} "
                f"of {path}. Received: {array.dtype} of shape {array.shape}. "
                "Labels that are words become numbers with "
                "numpy.unique(labels, return_inverse=True)."
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise DataError(
                f"Expected finite numbers in array {name!r} of {path}. "
                f"Received: {counted(bad, 'value')} of NaN or infinity. Remove "
                "these examples, or replace the values."
            )
    if len(x) != len(y):
        raise DataError(
            f"Expected as many labels as images in {path}. Received: "
            f"{len(x)} in {x_name!r} and {len(y)} in {y_name!r}. Save both "
            "from the same examples."
        )
