"""Writes who did what, one line an event."""

import json
import logging
import os
import threading
from collections.abc import Sequence
from datetime import UTC
from datetime import datetime
from types import TracebackType
from typing import Any

from keras_split.errors import DataError
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import ServerCallback
from keras_split.server.callbacks import StepCommitted
from keras_split.server.callbacks import StepMerged
from keras_split.server.flood import Flood
from keras_split.server.observe.reasons import known

_LOG = logging.getLogger("keras_split.server")


class Audit(ServerCallback):
    """Appends events to a file of JSON lines.

    Each line has `time` (UTC) and `event`, and what there is of `session`
    (its label), `client`, `peer`, `step`, `reason`, `uplink_bytes` and
    `downlink_bytes` (of the connection, once it ends). Nothing that was sent
    is in it, and nothing with which one could get in. Every committed step
    has a line, so it can be counted how often each was taken. Of what a peer
    can cause without a step, such as refusals, ten lines are written at once
    and then one a second; `more` says how many were left out, and whose.

    A line is one write, so it outlives the death of this process; what the
    disk has no room for is lost, and the server goes on.

    Args:
        path: The file. Only its owner may read it if it is made here.
        replica: Number that each line has as `replica`, for one of several
            servers; None for none.

    Attributes:
        lost: Lines that could not be written.

    Raises:
        DataError: If the file cannot be opened.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, replica: int | None = None
    ) -> None:
        self.lost = 0
        self._beside = {} if replica is None else {"replica": replica}
        self._path = os.fspath(path)
        self._gap = 0
        self._bytes: dict[str, tuple[int, int]] = {}
        self._allowed = Flood()
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

    def opened(self, session: str, caller: Caller) -> None:
        """Writes who it was."""
        with self._lock:
            self._bytes[session] = (0, 0)
        self._write("opened", session, **caller.told)

    def resumed(self, session: str, caller: Caller, step: int) -> None:
        """Writes who it was, and where it goes on."""
        with self._lock:
            self._bytes.setdefault(session, (0, 0))
        self._write("resumed", session, **caller.told, step=step)

    def left(self, session: str) -> None:
        """Writes what the connection carried."""
        self._write("left", session, **self._carried(session, keep=True))

    def closed(self, session: str, reason: str) -> None:
        """Writes why, and what was carried since the last such line."""
        carried = self._carried(session, keep=False)
        self._write("closed", session, reason=reason, **carried)

    def committed(self, taken: StepCommitted) -> None:
        """Writes which step."""
        self._write("step", taken.session, step=taken.step)

    def restored(self, session: str, tag: str) -> None:
        """Writes that the body was set back."""
        if self._allowed.take(session):
            self._write("restored", session)

    def refused(self, session: str, caller: Caller, reason: str) -> None:
        """Writes who it was, and why."""
        if self._allowed.take(caller.account):
            self._write("refused", session, **caller.told, reason=known(reason))
        self._write_dropped(anyway=False)

    def carried(self, session: str, uplink: int, downlink: int) -> None:
        """Keeps the sums for `left` and `closed`."""
        with self._lock:
            if before := self._bytes.get(session):
                self._bytes[session] = (
                    before[0] + uplink,
                    before[1] + downlink,
                )

    def checkpointed(self, path: str, seconds: float) -> None:
        """Writes where, and how long it took."""
        if self._allowed.take(""):
            self._write("checkpointed", path=path, seconds=round(seconds, 6))

    def loaded(self, path: str, sessions: dict[str, int]) -> None:
        """Writes where each session goes on."""
        with self._lock:
            self._bytes.update(dict.fromkeys(sessions, (0, 0)))
        self._write("loaded", path=path, sessions=sessions)

    def enrolled(self, session: str, member: int) -> None:
        """Writes who is in the cohort."""
        self._write("enrolled", session, member=member)

    def away(self, session: str, member: int) -> None:
        """Writes who is gone."""
        self._write("away", session, member=member)

    def merged(self, taken: StepMerged) -> None:
        """Writes whose examples are in it, and whose are not."""
        self._write("merged", step=taken.step, **_took(taken))

    def round_begun(self, round: int, members: Sequence[int]) -> None:
        """Writes who trains."""
        self._write("round_begun", round=round, members=[*members])

    def round_ended(self, ended: RoundEnded) -> None:
        """Writes whose halves are in it, and whose are not."""
        self._write("round_ended", round=ended.round, **_took(ended))

    def close(self) -> None:
        """Closes the file; later events are lost."""
        self._write_dropped(anyway=True)
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def __enter__(self) -> "Audit":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write_dropped(self, *, anyway: bool) -> None:
        for whose, lines in self._allowed.dropped(anyway=anyway).items():
            self._write("more", whose=whose, lines=lines)

    def _carried(self, session: str, *, keep: bool) -> dict[str, int]:
        with self._lock:
            carried = self._bytes.pop(session, None)
            if keep and carried is not None:
                self._bytes[session] = (0, 0)
        uplink, downlink = carried or (0, 0)
        return {"uplink_bytes": uplink, "downlink_bytes": downlink}

    def _write(self, event: str, session: str = "", **more: Any) -> None:
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


def _took(what: StepMerged | RoundEnded) -> dict[str, Any]:
    return {
        "members": [*what.members],
        "dropped": [*what.dropped],
        "seconds": round(what.seconds, 6),
    }


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
