"""Copies of a body that the server keeps and the phone only names."""

import hashlib
import json
import os
import re
import secrets
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_split.errors import ProtocolError
from keras_split.protocol.timeline import Timeline
from keras_split.server.storage.private import make_folder
from keras_split.utils import npz
from keras_split.utils.scratch import Scratch

_Arrays = list[np.ndarray[Any, Any]]
_NEW = Timeline()
_TAG = re.compile(r"[0-9a-f]{16}")
# Number, owner, tag and who holds it. Other versions wrote the tag alone.
_NAME = re.compile(
    r"(?:(\d{10})-([0-9a-f]{16})-)?([0-9a-f]{16})(?:-([0-9a-f]{16}))?\.npz"
)


@dataclass(frozen=True)
class SnapshotLimits:
    """How many snapshots a server keeps.

    Attributes:
        of_client: Those of one client; its oldest goes first.
        held: Of these, those that stay before others of the same client,
            because a phone has a list of weights in memory that names them.
        in_all: Those of all clients; who has most loses first.
    """

    of_client: int = 64
    held: int = 16
    in_all: int = 1024


@dataclass(frozen=True, eq=False)
class SnapshotContent:
    """What a snapshot holds.

    Attributes:
        body: Every variable of the body.
        optimizer: Every variable of its optimizer.
        timeline: Through which moments the body had come; None in a file of
            a version that knew none.
    """

    body: _Arrays
    optimizer: _Arrays
    timeline: Timeline | None = None


@dataclass(frozen=True, order=True)
class _Kept:
    """One snapshot, as the name of its file tells it; the oldest is least."""

    number: int
    owner: str
    tag: str
    holder: str

    @property
    def name(self) -> str:
        held = f"-{self.holder}" if self.holder else ""
        return f"{self.number:010d}-{self.owner}-{self.tag}{held}.npz"


class Snapshots:
    """A folder with one file for each snapshot.

    Names of files tell order, owner and holder, so they hold for the next
    server as well; times of files do not, which a copy or a clock changes.

    Args:
        folder: Where they are kept; a temporary folder if not given, which
            goes when the server does.
        limits: How many are kept.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        limits: SnapshotLimits | None = None,
    ) -> None:
        if folder is None:
            self._scratch = Scratch()
            folder = self._scratch.name
        self._folder = Path(folder)
        make_folder(self._folder)
        self._limits = limits or SnapshotLimits()
        self._lock = threading.Lock()

    def inside(self, name: str) -> "Snapshots":
        """Those of one owner, whose number is limited by itself."""
        return Snapshots(self._folder / name, self._limits)

    def save(
        self,
        body: _Arrays,
        optimizer: _Arrays,
        owner: str = "",
        holder: str = "",
        timeline: Timeline = _NEW,
    ) -> str:
        """Keeps a copy and returns its tag; a half-written one never counts.

        Args:
            body: Every variable of the body.
            optimizer: Every variable of its optimizer.
            owner: The client among whose snapshots it counts.
            holder: The session that has a use for it until it says otherwise
                or ends; empty for one that others of its owner push out.
            timeline: Through which moments the body has come.
        """
        tag = secrets.token_hex(8)
        arrays = {f"body_{i}": a for i, a in enumerate(body)}
        arrays.update({f"optimizer_{i}": a for i, a in enumerate(optimizer)})
        text = json.dumps(timeline.get_config()).encode()
        arrays["timeline"] = np.frombuffer(text, np.uint8)
        with self._lock:
            number = max((kept.number for kept in self._found()), default=0)
            made = _Kept(
                number + 1, _digest(owner), tag, holder and _digest(holder)
            )
            npz.write(self._folder / made.name, arrays)
            self._make_room(made)
        return tag

    def load(self, tag: str) -> SnapshotContent:
        """Reads a copy back.

        Raises:
            ProtocolError: With reason `"snapshot"`, if there is none.
        """
        with self._lock:
            arrays = self._read(tag)
        timeline, groups = _timeline(tag, arrays), []
        for kind in ("body", "optimizer"):
            count = sum(name.startswith(f"{kind}_") for name in arrays)
            groups.append([arrays[f"{kind}_{i}"] for i in range(count)])
        return SnapshotContent(groups[0], groups[1], timeline)

    def release(self, tag: str) -> None:
        """Deletes a copy; one that is gone already is no error."""
        with self._lock:
            path = self._path(tag)
            if path is not None:
                path.unlink(missing_ok=True)

    def let_go(self, holder: str) -> None:
        """What a session held is as all others: it has ended."""
        with self._lock:
            for kept, path in self._found().items():
                if kept.holder == _digest(holder):
                    self._unhold(kept, path)

    def let_go_but(self, holders: Collection[str]) -> None:
        """The same, for all sessions that a server does not know any more."""
        known = {_digest(holder) for holder in holders}
        with self._lock:
            for kept, path in self._found().items():
                if kept.holder and kept.holder not in known:
                    self._unhold(kept, path)

    def _make_room(self, made: _Kept) -> None:
        """Deletes what is over the limits, but never what was just made."""
        limits, found = self._limits, self._found()
        mine = sorted(kept for kept in found if kept.owner == made.owner)
        held = [kept for kept in mine if kept.holder]
        for kept in held[: -limits.held]:
            found.update([self._unhold(kept, found.pop(kept))])
        while True:
            counts = Counter(kept.owner for kept in found)
            owner = made.owner
            if counts[owner] <= limits.of_client:
                if len(found) <= limits.in_all:
                    return
                most = max(counts.values())
                free = [
                    kept
                    for kept in found
                    if counts[kept.owner] == most and kept != made
                ]
                owner = min(free or found).owner
            # Those that are held go last.
            oldest = min(
                (kept for kept in found if kept.owner == owner),
                key=lambda kept: (kept == made, bool(kept.holder), kept),
            )
            found.pop(oldest).unlink(missing_ok=True)

    def _unhold(self, kept: _Kept, path: Path) -> tuple[_Kept, Path]:
        free = _Kept(kept.number, kept.owner, kept.tag, "")
        return free, path.replace(self._folder / free.name)

    def _read(self, tag: str) -> dict[str, npz.Array]:
        path = self._path(tag)
        if path is None:
            raise ProtocolError(
                f"Expected the tag of a snapshot of this server (it keeps "
                f"the last {self._limits.of_client} of a client). Received: "
                f"{tag!r}. Train again, or restart the server with the folder "
                "that it had: serve --checkpoints FOLDER.",
                "snapshot",
            )
        try:
            return npz.read(path)
        except npz.BrokenError as error:
            raise _broken(tag, error) from error

    def _path(self, tag: str) -> Path | None:
        if not _TAG.fullmatch(tag):
            return None
        found = self._found().items()
        return next((path for kept, path in found if kept.tag == tag), None)

    def _found(self) -> dict[_Kept, Path]:
        try:
            names = [_NAME.fullmatch(name) for name in os.listdir(self._folder)]
        except FileNotFoundError:  # at the end of the process, say
            return {}
        return {
            _Kept(int(m[1] or 0), m[2] or "", m[3], m[4] or ""): (
                self._folder / m[0]
            )
            for m in names
            if m is not None
        }


def _timeline(tag: str, arrays: dict[str, npz.Array]) -> Timeline | None:
    if "timeline" not in arrays:
        return None
    try:
        config = json.loads(arrays["timeline"].tobytes())
        return Timeline.from_config(config)
    except (ValueError, TypeError, AttributeError) as error:
        raise _broken(tag, error) from error


def _broken(tag: str, error: Exception) -> ProtocolError:
    return ProtocolError(
        f"Expected snapshot {tag!r} to be whole. Received: a file that cannot "
        f"be read ({error}). Use an older snapshot, or train again.",
        "snapshot",
    )


def _digest(name: str) -> str:
    """What stands for a client or a session in the name of a file."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]
