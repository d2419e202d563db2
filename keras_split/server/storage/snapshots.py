"""Copies of a body that the server keeps and the phone only names."""

import os
import re
import secrets
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from keras_split.errors import ProtocolError
from keras_split.utils import npz

_Arrays = list[np.ndarray[Any, Any]]
_TAG = re.compile(r"[0-9a-f]{16}")


class Snapshots:
    """A folder with one file for each snapshot.

    Args:
        folder: Where they are kept; a temporary folder if not given, which
            goes when the server does.
        limit: How many are kept; the oldest goes first.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, limit: int = 64
    ) -> None:
        if folder is None:
            folder = tempfile.mkdtemp(prefix="keras_split-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._limit = limit

    def inside(self, name: str) -> "Snapshots":
        """Those of one owner, whose number is limited by itself."""
        return Snapshots(self._folder / name, self._limit)

    def save(self, body: _Arrays, optimizer: _Arrays) -> str:
        """Keeps a copy and returns its tag; a half-written one never counts."""
        tag = secrets.token_hex(8)
        arrays = {f"body_{i}": a for i, a in enumerate(body)}
        arrays.update({f"optimizer_{i}": a for i, a in enumerate(optimizer)})
        npz.write(self._path(tag), arrays)
        kept = sorted(
            self._folder.glob("*.npz"), key=lambda p: p.stat().st_mtime_ns
        )
        for path in kept[: -self._limit]:
            path.unlink(missing_ok=True)
        return tag

    def load(self, tag: str) -> tuple[_Arrays, _Arrays]:
        """Reads a copy back: the body's arrays and the optimizer's.

        Raises:
            ProtocolError: With reason `"snapshot"`, if there is none.
        """
        if not _TAG.fullmatch(tag) or not self._path(tag).exists():
            raise ProtocolError(
                f"Expected the tag of a snapshot of this server (it keeps "
                f"the last {self._limit}). Received: {tag!r}. Train again, "
                "or restart the server with the folder that it had: "
                "serve --checkpoints FOLDER.",
                "snapshot",
            )
        try:
            arrays = npz.read(self._path(tag))
        except npz.BrokenError as error:
            raise ProtocolError(
                f"Expected snapshot {tag!r} to be whole. Received: a file "
                f"that cannot be read ({error}). Use an older snapshot, or "
                "train again.",
                "snapshot",
            ) from error
        groups = []
        for kind in ("body", "optimizer"):
            count = sum(name.startswith(f"{kind}_") for name in arrays)
            groups.append([arrays[f"{kind}_{i}"] for i in range(count)])
        return groups[0], groups[1]

    def release(self, tag: str) -> None:
        """Deletes a copy; one that is gone already is no error."""
        if _TAG.fullmatch(tag):
            self._path(tag).unlink(missing_ok=True)

    def _path(self, tag: str) -> Path:
        return self._folder / f"{tag}.npz"
