"""The probes that come with keras_split, as files that LiteRT runs."""

import io
import json
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keras_split.errors import DataError
from keras_split.planner.work import Work

INDEX = "index.json"
_SHIPPED = "probes.tar.xz"


@dataclass(frozen=True)
class ProbeFile:
    """A .tflite, and what its head and tail do.

    Attributes:
        path: Of the file.
        batch: Examples of each pass.
        head: The head's work, with its crossing.
        tail: The tail's.
    """

    path: Path
    batch: int
    head: Work
    tail: Work


@contextmanager
def opened(source: str | Path | None = None) -> Iterator[list[ProbeFile]]:
    """Unpacks probes for as long as they are needed.

    Args:
        source: What `scripts/make_probes.py` wrote; by default those that
            come with keras_split.

    Raises:
        DataError: If they cannot be unpacked.
    """
    shipped = resources.files("keras_split.planner") / _SHIPPED
    with TemporaryDirectory() as folder:
        try:
            with (
                (shipped if source is None else Path(source)).open("rb") as f,
                tarfile.open(fileobj=f, mode="r:xz") as archive,
            ):
                index = json.loads(_member(archive, INDEX))
                found = [_unpack(archive, row, Path(folder)) for row in index]
        except (
            *(OSError, KeyError, TypeError, ValueError, EOFError),
            *(lzma.LZMAError, tarfile.TarError),
        ) as error:
            raise DataError(
                "Expected probes, as scripts/make_probes.py packs them, in "
                f"{str(source or _SHIPPED)!r}. Received: {error}. Install "
                "keras_split again, or make them anew."
            ) from error
        yield found


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _unpack(archive: tarfile.TarFile, row: Any, folder: Path) -> ProbeFile:
    path = folder / Path(row["file"]).name
    path.write_bytes(_member(archive, row["file"]))
    return ProbeFile(
        path,
        int(row["batch"]),
        Work.from_config(row["head"]),
        Work.from_config(row["tail"]),
    )


def pack(target: Path, files: list[ProbeFile]) -> None:
    """The inverse of `opened`; equal files make equal archives."""
    rows = [
        {
            "file": file.path.name,
            "batch": file.batch,
            "head": file.head.get_config(),
            "tail": file.tail.get_config(),
        }
        for file in files
    ]
    members = {INDEX: json.dumps(rows).encode()}
    members |= {file.path.name: file.path.read_bytes() for file in files}
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)  # without a date
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
