"""What a server continues from after its death: a few files in a folder."""

import contextlib
import json
import logging
import os
import re
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from keras_split.compression.formats import floats_are_finite
from keras_split.compression.tensors import CutTensor
from keras_split.errors import DataError
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.messages import Message
from keras_split.protocol.moment import Moment
from keras_split.protocol.timeline import Timeline
from keras_split.server.session_state import SessionState
from keras_split.server.storage import cohort_state
from keras_split.server.storage.cohort_state import CohortState
from keras_split.server.storage.private import make_folder
from keras_split.utils import npz

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_LOG = logging.getLogger("keras_split.server")
_NAME = re.compile(r"checkpoint-(\d{8})\.npz")
_FORMAT = 1
PRIVATE = "bodies"  # folder of those of each client, where each has its own
COHORT = "cohort"  # folder of what these have in common
_Arrays = Sequence[np.ndarray[Any, Any]]


@dataclass(frozen=True, eq=False)
class HostState:
    """Everything that the steps of a server have changed.

    Attributes:
        fingerprint: Of the model.
        body: Every variable of the body: weights, statistics, seeds.
        slots: Variables of the server's own optimizer, if it has one.
        sessions: Those that are open.
        optimizer: The class of the server's own optimizer; empty without
            one, or in a file that does not say.
        timeline: Through which moments the body had come; None in a file of
            a version that knew none.
        data: What the body is trained with.
        cohort: Of the phones that train one model; None without.
    """

    fingerprint: str
    body: _Arrays
    slots: _Arrays
    sessions: Sequence[SessionState]
    optimizer: str = ""
    timeline: Timeline | None = None

    @property
    def moment(self) -> Moment:
        """Which moment of which training it is of; empty if not known."""
        return self.timeline.moment if self.timeline else Moment()

    data: DataDigest = field(default_factory=DataDigest)
    cohort: CohortState | None = None

    def check_finite(self, odd: Collection[int] = ()) -> None:
        """Refuses a state that nobody could train on with.

        Args:
            odd: Variables of the body, by number, that may be anything: they
                were infinite before anybody trained, such as masks.

        Raises:
            DataError: If there is NaN or infinity in it.
        """
        groups = {
            "the body": [a for i, a in enumerate(self.body) if i not in odd],
            "the optimizer": self.slots,
            "a session's optimizer": [
                a for s in self.sessions for a in s.slots
            ],
        }
        for what, arrays in groups.items():
            if not all(map(floats_are_finite, arrays)):
                raise DataError(
                    "Expected finite numbers in what a server keeps. "
                    f"Received: NaN or infinity in {what}. Go on from the "
                    "checkpoint before, with a lower learning rate."
                )


class _NewerError(DataError):
    """A checkpoint of a version that is yet to come: whole, and not ours."""


class Checkpoints:
    """A folder with the last states of one server.

    A file is written and synced beside the others and renamed then, so a
    crash, a full disk or a killed write leaves those before it as they were.

    Args:
        folder: Where they are.
        keep: How many; the oldest goes first.

    Raises:
        DataError: If there can be no such folder.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 3) -> None:
        self.folder = Path(folder)
        self._keep = keep
        try:
            make_folder(self.folder)
        except OSError as error:
            raise DataError(
                f"Expected a folder for checkpoints. Received: "
                f"{str(folder)!r} ({error}). Choose another one."
            ) from error
        for draft in self.folder.glob("checkpoint-*.partial"):
            draft.unlink(missing_ok=True)  # of a write that was killed

    def save(self, state: HostState, odd: Collection[int] = ()) -> Path:
        """Writes a state.

        Args:
            state: It.
            odd: As in `HostState.check_finite`.

        Raises:
            OSError: If it cannot be written; the others are as they were.
            DataError: If it is not finite; they are, too.
        """
        state.check_finite(odd)
        found = self._found()
        number = found[-1][0] + 1 if found else 1
        path = self.folder / f"checkpoint-{number:08d}.npz"
        npz.write(path, _to_arrays(state))
        for _, old in found[: -(self._keep - 1) or None]:
            old.unlink(missing_ok=True)
        return path

    def load(
        self, fingerprint: str, odd: Collection[int] = ()
    ) -> tuple[HostState, Path] | None:
        """Reads the last state that is whole; None if there was never one.

        Args:
            fingerprint: Of the model.
            odd: As in `HostState.check_finite`.

        Raises:
            DataError: If all of them are damaged, or the last one that is not
                is of another model or of a newer keras_split.
        """
        paths = [path for _, path in self._found()]
        return _last(paths, self.folder, fingerprint, odd) if paths else None

    @property
    def numbers(self) -> list[int]:
        """Of the states that are there, oldest first."""
        return [number for number, _ in self._found()]

    @property
    def folders(self) -> list[Path]:
        """Folders inside this one."""
        return [path for path in self.folder.iterdir() if path.is_dir()]

    def _found(self) -> list[tuple[int, Path]]:
        matches = [(_NAME.fullmatch(p.name), p) for p in self.folder.iterdir()]
        return sorted((int(m[1]), path) for m, path in matches if m)


@contextlib.contextmanager
def claim(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Holds a folder for one server; its death gives it back.

    Raises:
        DataError: If another server has it, or there can be no such folder.
    """
    path = Checkpoints(folder).folder / "lock"
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        if fcntl is not None:  # Windows has none
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DataError(
                    "Expected checkpoints that no other server writes. "
                    f"Received: {str(folder)!r}, which one does. Stop it, or "
                    "choose another folder."
                ) from error
        yield


def read_last(
    path: str | os.PathLike[str],
    fingerprint: str,
    odd: Collection[int] = (),
) -> tuple[HostState, Path]:
    """Reads a checkpoint, and changes nothing where it lies.

    Args:
        path: One file, or a folder with some, of which the last is read.
        fingerprint: Of the model.
        odd: As in `HostState.check_finite`.

    Raises:
        DataError: If there is none, or as `Checkpoints.load`.
    """
    path = Path(path)
    paths, folder = [path], path.parent
    if path.is_dir():
        names = sorted(
            p.name for p in path.iterdir() if _NAME.fullmatch(p.name)
        )
        paths, folder = [path / name for name in names], path
    if not paths or not paths[0].is_file():
        inside = sorted((path / PRIVATE).glob("*/")) if path.is_dir() else []
        advice = "Look at the path."
        if inside:
            advice = (
                "Each client trained a body of its own; name the folder of "
                f"one, such as {str(inside[0])!r}."
            )
        raise DataError(
            "Expected a checkpoint, or a folder of serve --checkpoints. "
            f"Received: {str(path)!r}, which has none. {advice}"
        )
    return _last(paths, folder, fingerprint, odd)


def _last(
    paths: Sequence[Path],
    folder: Path,
    fingerprint: str,
    odd: Collection[int],
) -> tuple[HostState, Path]:
    """The last of some files that is whole.

    Args:
        paths: The files, oldest first.
        folder: Where they lie, for messages.
        fingerprint: Of the model.
        odd: As in `HostState.check_finite`.
    """
    for path in reversed(paths):
        try:
            state = _from_arrays(npz.read(path), path)
            state.check_finite(odd)
        except _NewerError:
            raise
        except (ValueError, KeyError, TypeError, IndexError) as error:
            _LOG.error(
                "checkpoint %s is damaged (%s); the one before is used",
                path,
                error,
            )
            continue
        if state.fingerprint != fingerprint:
            raise DataError(
                f"Expected checkpoints of this model in {folder}, "
                f"with fingerprint {fingerprint[:12]}. Received: "
                f"{state.fingerprint[:12]} in {path.name}. Choose another "
                "folder, or serve the model that it was."
            )
        return state, path
    raise DataError(
        f"Expected a checkpoint that is whole in {folder}. "
        f"Received: {len(paths)}, all damaged. Choose another folder "
        "to start anew, or put a copy of one there."
    )


def _to_arrays(state: HostState) -> dict[str, np.ndarray[Any, Any]]:
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    about: dict[str, Any] = {
        "format": _FORMAT,
        "fingerprint": state.fingerprint,
        "body": _put(arrays, "body", state.body),
        "slots": _put(arrays, "slots", state.slots),
        "optimizer": state.optimizer,
        "sessions": [],
        **_said(state.data),
    }
    if state.timeline is not None:
        about["timeline"] = state.timeline.get_config()
    if state.cohort is not None:
        about["cohort"] = cohort_state.to_arrays(state.cohort, arrays)
    for i, session in enumerate(state.sessions):
        about["sessions"].append(
            {
                "name": session.name,
                "client": session.client,
                "optimizer": session.optimizer,
                "loss": session.loss,
                "next_step": session.next_step,
                "examples": session.examples,
                "slots": _put(arrays, f"session_{i}_slots", session.slots),
                "replies": [
                    _put_message(arrays, f"session_{i}_reply_{k}", reply)
                    for k, reply in enumerate(session.replies)
                ],
                **_said(session.data),
            }
        )
    text = json.dumps(about).encode()
    return {"about": np.frombuffer(text, np.uint8), **arrays}


def _from_arrays(
    arrays: dict[str, np.ndarray[Any, Any]], path: Path
) -> HostState:
    """The state that arrays of a file hold.

    Fields that are not known are passed over: a version that cannot do
    without them writes another format.
    """
    about = json.loads(arrays["about"].tobytes())
    if about.get("format", 1) > _FORMAT:  # the first wrote no number
        raise _NewerError(
            f"Expected a checkpoint of format {_FORMAT} or less. Received: "
            f"{path}, of format {about['format']}, which a newer keras_split "
            "wrote. Install that one, or choose another folder."
        )
    known = {field.name for field in fields(SessionState)}
    sessions = []
    for i, values in enumerate(about["sessions"]):
        values["data"] = DataDigest.get(values.get("data"))
        values["slots"] = _get(arrays, f"session_{i}_slots", values["slots"])
        values["replies"] = [
            _get_message(arrays, f"session_{i}_reply_{k}", reply)
            for k, reply in enumerate(values["replies"])
        ]
        sessions.append(
            SessionState(**{k: v for k, v in values.items() if k in known})
        )
    timeline, cohort = about.get("timeline"), about.get("cohort")
    return HostState(
        about["fingerprint"],
        _get(arrays, "body", about["body"]),
        _get(arrays, "slots", about["slots"]),
        sessions,
        about.get("optimizer", ""),
        None if timeline is None else Timeline.from_config(timeline),
        DataDigest.get(about.get("data")),
        None if cohort is None else cohort_state.from_arrays(cohort, arrays),
    )


def _said(data: DataDigest) -> dict[str, Any]:
    return {"data": data.get_config()} if data else {}


def _put(
    arrays: dict[str, np.ndarray[Any, Any]], name: str, values: _Arrays
) -> int:
    arrays.update({f"{name}_{i}": value for i, value in enumerate(values)})
    return len(values)


def _get(
    arrays: dict[str, np.ndarray[Any, Any]], name: str, count: int
) -> list[np.ndarray[Any, Any]]:
    return [arrays[f"{name}_{i}"] for i in range(count)]


def _put_message(
    arrays: dict[str, np.ndarray[Any, Any]], name: str, reply: Message
) -> dict[str, Any]:
    """A reply as plain values; the numbers of its tensors as arrays."""
    values: dict[str, Any] = {"kind": type(reply).__name__}
    for key, value in vars(reply).items():
        if isinstance(value, list):
            value = [
                _put_tensor(arrays, f"{name}_{key}_{i}", tensor)
                for i, tensor in enumerate(value)
            ]
        elif isinstance(value, Moment):
            value = value.get_config()
        values[key] = value
    return values


def _get_message(
    arrays: dict[str, np.ndarray[Any, Any]],
    name: str,
    values: dict[str, Any],
) -> Message:
    kinds = {k.__name__: k for k in Message.__subclasses__()}
    kind = kinds[values.pop("kind")]
    known = {field.name for field in fields(kind)}
    values = {key: value for key, value in values.items() if key in known}
    for key, value in values.items():
        if isinstance(value, list):
            values[key] = [
                _get_tensor(arrays, f"{name}_{key}_{i}", about)
                for i, about in enumerate(value)
            ]
        elif key == "moment":
            values[key] = Moment.get(value)
    made: Message = kind(**values)
    return made


def _put_tensor(
    arrays: dict[str, np.ndarray[Any, Any]], name: str, tensor: CutTensor
) -> dict[str, Any]:
    arrays[f"{name}_codes"] = tensor.codes
    if tensor.scales is not None:
        arrays[f"{name}_scales"] = tensor.scales
    return {"name": tensor.name, "shape": list(tensor.shape)}


def _get_tensor(
    arrays: dict[str, np.ndarray[Any, Any]], name: str, about: dict[str, Any]
) -> CutTensor:
    return CutTensor(
        about["name"],
        tuple(about["shape"]),
        arrays[f"{name}_codes"],
        arrays.get(f"{name}_scales"),
    )
