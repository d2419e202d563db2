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
    check_folder(path, option)


def check_folder(path: str | None, option: str) -> None:
    """Refuses a file whose folder is not there, or cannot be written to.

    Args:
        path: Of the file; None for none.
        option: Which says it.

    Raises:
        DataError: If it is so.
    """
    if path is None:
        return
    folder = Path(path).absolute().parent
    if not _writable(folder):
        raise DataError(
            f"Expected {option} in a folder that can be written to. Received: "
            f"{path!r}, and {folder} is none. Make it, or choose another one."
        )


def check_new_folder(path: str | None, option: str) -> None:
    """Refuses a folder that cannot be written to, or made.

    Args:
        path: Of the folder, which need not be there; None for none.
        option: Which says it.

    Raises:
        DataError: If it cannot.
    """
    if path is None:
        return
    folder = Path(path).absolute()
    there = next(p for p in (folder, *folder.parents) if p.exists())
    if not _writable(there):
        raise DataError(
            f"Expected a folder for {option} that can be made and written to. "
            f"Received: {path!r}, and {there} is no folder that can be "
            "written to. Choose another one."
        )


def _writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


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
