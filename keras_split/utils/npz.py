"""An .npz file that is whole or not there, and never pickled."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_split.utils import whole_file

Array = np.ndarray[Any, Any]


class BrokenError(ValueError):
    """The file cannot be read; the message says why, in a few words.

    Whoever reads turns it into an error that names the file.
    """


def read(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Reads all arrays of a file. Pickles are refused: they can run code.

    Raises:
        BrokenError: If there is no such file, or anything about it is wrong.
    """
    try:
        # np.load leaves a file that it opened itself open when it fails.
        with Path(path).open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name")
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # a member that is no .npy
                raise ValueError(f"{name!r} in it is no array")
    except Exception as error:
        # A broken or hostile file shows in a dozen ways: encrypted members,
        # unknown compressions, sizes beyond the memory, headers that are no
        # Python, and what zipfile, zlib and lzma raise of their own.
        raise BrokenError(str(error) or type(error).__name__) from error
    return arrays


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Writes all arrays to a file, at once.

    Whoever reads meanwhile, or after a crash, finds the old file or the new
    one: a draft beside it is written and synced first, then renamed. Only
    its owner may read it: it holds weights, and names of sessions.

    Raises:
        OSError: If it cannot be written; the old file is as it was.
    """
    with whole_file.written(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
