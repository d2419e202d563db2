"""A file of JSON lines that a death or a full disk cannot spoil."""

import json
import logging
import os
import threading
from datetime import UTC
from datetime import datetime
from typing import Any

from keras_split.errors import DataError

_LOG = logging.getLogger("keras_split.server")


class LineFile:
    """Appends events to a file, one line each, from any thread.

    A line is one write, so it outlives the death of this process; what the
    disk has no room for is lost, and the server goes on. The next line that
    finds room says how many are.

    Args:
        path: The file. Only its owner may read it if it is made here.
        **beside: What every line says beside its own.

    Attributes:
        lost: Lines that could not be written.

    Raises:
        DataError: If the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], **beside: Any) -> None:
        self.lost = 0
        self._beside = beside
        self._path = os.fspath(path)
        self._gap = 0
        self._lock = threading.Lock()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._file = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise DataError(
                f"Expected an audit log that can be written. Received: "
                f"{self._path!r} ({error.strerror}). Choose another "
                "--audit-log, or look at its folder and its rights."
            ) from error
        self._torn = _is_torn(self._file)

    def write(self, event: str, session: str = "", **more: Any) -> None:
        """Appends a line; nothing after `close`.

        Args:
            event: What it is.
            session: Label of the session, if it is of one.
            **more: What else there is to say; empty text is left out.
        """
        line = _line(event, session, self._beside | more)
        with self._lock:
            if self._file < 0:
                return
            gap = b""
            if self._gap:
                gap = _line("lost", "", self._beside | {"lines": self._gap})
            data = b"\n" * self._torn + gap + line
            try:
                written = os.write(self._file, data)
            except OSError as error:
                written, cause = 0, error.strerror
            else:
                cause = "no room"
            if written == len(data):
                self._torn, self._gap = False, 0
                return
            self._torn = self._torn or written > 0
            self.lost += 1
            self._gap += 1
            first = self.lost == 1
        if first:
            _LOG.warning(
                "the audit log %s loses lines (%s); the server goes on",
                self._path,
                cause,
            )

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


def _line(event: str, session: str, more: dict[str, Any]) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    record = {"time": now, "event": event, "session": session, **more}
    kept = {name: value for name, value in record.items() if value != ""}
    return json.dumps(kept).encode() + b"\n"


def _is_torn(file: int) -> bool:
    """Whether the last line ended in the middle, as a full disk leaves it."""
    try:
        size = os.lseek(file, 0, os.SEEK_END)
        return size > 0 and os.pread(file, 1, size - 1) != b"\n"
    except OSError:
        return False  # a pipe or a device
