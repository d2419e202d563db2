"""What each phone has that others have not, in one file."""

import mmap
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_split.federation.variable_bytes import VariableBytes

_MAPPED = 1 << 26  # bytes that may be mapped at a time
_Bytes = np.ndarray[Any, Any]


class PhoneStates:
    """Values of the same variables for each of many phones, in one file.

    A phone that never trained takes no place: the file is sparse. It is
    mapped into memory, and pages that were read or written are given back
    when they come to more than 64 MB. The file is gone with the object.

    Args:
        variables: Keras variables; their values now are everybody's first.
        phones: How many phones.

    Attributes:
        row_bytes: Of one phone.
        folder: Where the file lies.
    """

    def __init__(self, variables: Sequence[Any], phones: int) -> None:
        self._variables = VariableBytes(variables)
        self.row_bytes = self._variables.size
        self._first = self._variables.get()
        self._known = np.zeros(phones, bool)
        self._made = tempfile.TemporaryDirectory(prefix="keras-split-phones")
        self.folder = Path(self._made.name)
        self._file: _Bytes = np.zeros((phones, 0), np.uint8)
        self._map: mmap.mmap | None = None
        self._touched = 0
        if self.row_bytes:
            with (self.folder / "states").open("w+b") as file:
                file.truncate(phones * self.row_bytes)
                self._map = mmap.mmap(file.fileno(), 0)
            rows = np.frombuffer(self._map, np.uint8)
            self._file = rows.reshape(phones, self.row_bytes)

    def load(self, phone: int) -> None:
        """Gives the variables the values of a phone."""
        self._variables.set(self.row(phone))

    def save(self, phone: int) -> None:
        """Keeps the values of the variables as those of a phone."""
        self.put(phone, self._variables.get())

    def row(self, phone: int) -> _Bytes:
        """The values of a phone, shape `(row_bytes,)`, uint8."""
        if not self._known[phone]:
            return self._first
        self._touch()
        row: _Bytes = self._file[phone]
        return row

    def put(self, phone: int, values: _Bytes) -> None:
        """Makes these the values of a phone; see `row`."""
        self._known[phone] = True
        self._touch()
        self._file[phone] = values

    def close(self) -> None:
        """Removes the file."""
        self._file, self._map = np.zeros((0, 0), np.uint8), None
        self._made.cleanup()

    def _touch(self) -> None:
        """Gives pages back to the system now and then; the file has them."""
        self._touched += self.row_bytes
        if self._map is not None and self._touched > _MAPPED:
            self._touched = self.row_bytes
            if hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)
