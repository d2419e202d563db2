"""Files that commands write: named before the work, whole or not there."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_split.errors import DataError


def check(path: str | None, suffixes: tuple[str, ...], option: str) -> None:
    """Refuses a file that cannot be written, before an hour of work.

    Args:
        path: Of the file; None for none.
        suffixes: Those that it may have.
        option: Which says it.

    Raises:
        DataError: If it cannot.
    """
    if path is None:
        return
    if Path(path).suffix.lower() not in suffixes:
        raise DataError(
            f"Expected a file name that ends in {' or '.join(suffixes)} for "
            f"{option}. Received: {path!r}."
        )
    folder = Path(path).absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(
            f"Expected {option} in a folder that can be written to. Received: "
            f"{path!r}, and {folder} is none. Make it, or choose another one."
        )


@contextlib.contextmanager
def draft(path: str) -> Iterator[Path]:
    """A file beside `path` that takes its place if nothing fails.

    Raises:
        DataError: If it cannot be written.
    """
    target = Path(path).absolute()
    try:
        with tempfile.TemporaryDirectory(
            prefix=".", dir=target.parent
        ) as folder:
            made = Path(folder) / target.name
            yield made
            made.replace(target)
    except OSError as error:
        raise DataError(
            f"Expected to write {path!r}. Received: {error}. Free some space, "
            "or choose another folder."
        ) from error
