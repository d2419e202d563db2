"""Folders that only the user who runs the server may look into."""

from pathlib import Path


def make_folder(path: Path) -> None:
    """Makes a folder, if it is not there, of mode 700.

    Those above it are made as usual. One that is there stays as it is: who
    may read it is its owner's choice.

    Raises:
        OSError: If it cannot be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
