"""Which body a session trains: one for all, or one a client."""

import abc
import contextlib
import functools
import gc
import hashlib
import logging
import shutil
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.moment import Moment
from keras_split.server.body import Body
from keras_split.server.body import check_optimizer
from keras_split.server.body import odd_variables
from keras_split.server.body_options import BodyOptions
from keras_split.server.callbacks import label
from keras_split.server.fair_lock import FairLock
from keras_split.server.session import Session
from keras_split.server.session_state import SessionState
from keras_split.server.storage.checkpoints import COHORT
from keras_split.server.storage.checkpoints import PRIVATE
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.server.storage.cohort_file import CohortFile
from keras_split.server.storage.cohort_state import CohortState
from keras_split.server.storage.snapshots import Snapshots

if TYPE_CHECKING:
    from keras_split.training.body_optimizer import BodyOptimizer
    from keras_split.training.server_step import ServerHalf

_LOG = logging.getLogger("keras_split.server")


class Bodies(abc.ABC):
    """The bodies of one server.

    Args:
        half: The body that is served.
        optimizer: The server's own, if clients are not to choose.
        options: What holds for every body.
        snapshots: Folder for snapshots; temporary if not given, or inside
            that for checkpoints.
        checkpoints: Folder for checkpoints; None to forget.

    Raises:
        DataError: If checkpoints cannot be used.
    """

    def __init__(
        self,
        half: "ServerHalf",
        optimizer: "BodyOptimizer | None" = None,
        options: BodyOptions | None = None,
        snapshots: Path | None = None,
        checkpoints: Path | None = None,
    ) -> None:
        self._half = half
        self._optimizer = optimizer
        self._options = options
        self._kept = Checkpoints(checkpoints) if checkpoints else None
        if snapshots is None and self._kept is not None:
            snapshots = self._kept.folder / "snapshots"
        self._snapshots = Snapshots(snapshots)

    @property
    def half(self) -> "ServerHalf":
        """The body that is served, of which private ones are copies."""
        return self._half

    @property
    @abc.abstractmethod
    def moment(self) -> Moment:
        """Of the body that all train; empty if each phone has its own."""

    @abc.abstractmethod
    def keep(self, cohort: Callable[[], CohortState]) -> None:
        """Keeps this with what is kept; called before `load`."""

    @property
    @abc.abstractmethod
    def found_cohort(self) -> CohortState | None:
        """What `load` found of it; None if there was nothing."""

    @abc.abstractmethod
    def turn(self) -> contextlib.AbstractContextManager[object]:
        """Surrounds a change of a cohort, so that all of it is kept."""

    @abc.abstractmethod
    def write_cohort(self) -> None:
        """Writes it now, within a turn, as what phones are told must last.

        Raises:
            ProtocolError: With reason `"checkpoint"`, if it cannot.
        """

    @abc.abstractmethod
    def load(self) -> Sequence[Session]:
        """Goes on from checkpoints; gives the sessions that they have."""

    @abc.abstractmethod
    def open(self, start: SessionState) -> Session:
        """A session, and the body that it trains.

        Raises:
            SplitError: If it cannot have one.
        """

    @abc.abstractmethod
    def end(self, session: Session, *, forget: bool) -> None:
        """Frees what only this session needed.

        Args:
            session: Which ended.
            forget: Whether it ended for good, and not with the server.
        """

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Body]:
        """Those in memory."""


class SharedBody(Bodies):
    """One body for all sessions: what one commits, all others see."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kept = self._kept
        if kept is not None and (kept.folder / PRIVATE).exists():
            raise _other_bodies(kept.folder, "shared", "private")
        self._body = Body(
            self._half, self._optimizer, self._options, self._snapshots, kept
        )

    def keep(self, cohort: Callable[[], CohortState]) -> None:
        """Keeps it in the checkpoints of the body, and so of one time."""
        self._body.cohort = cohort

    @property
    def found_cohort(self) -> CohortState | None:
        """What the body's checkpoint had of it."""
        return self._body.found_cohort

    def turn(self) -> contextlib.AbstractContextManager[object]:
        """That of the body."""
        return self._body.turns.take("")

    @property
    def moment(self) -> Moment:
        """Of the one body."""
        return self._half.timeline.moment

    def write_cohort(self) -> None:
        """Writes a checkpoint of the body."""
        self._body.make_durable(anyway=True)

    def load(self) -> Sequence[Session]:
        """Goes on from the last checkpoint, or writes the first one."""
        found = self._body.load()
        if found is None:
            self._body.write_first()
        return _reopened(found or (), self.open)

    def open(self, start: SessionState) -> Session:
        """A session that trains the body beside others.

        Raises:
            SplitError: If it cannot have one; with reason `"data"`, if its
                client's data is not that of the others.
        """
        self._body.check_data(start.data)
        self._half.refresh()
        return _session(self._body, start)

    def end(self, session: Session, *, forget: bool) -> None:
        """Frees nothing: the body is the server's."""
        self._body.leave(session)

    def __iter__(self) -> Iterator[Body]:
        """The one."""
        return iter([self._body])


class PrivateBodies(Bodies):
    """One body a client, which begins as a copy of the one that is served.

    A client is known by the name that its token or certificate gives it, and
    finds its body again with its next session, if there are checkpoints. One
    without a name has a body for each session, which goes with it.

    Each is a Keras model with graphs of its own: it takes the memory of its
    weights, of its optimizer's slots, and of the steps that wait, and its
    first steps are traced anew.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bodies: dict[str, Body] = {}
        # Held while one is made or put away, so that nobody finds half of it.
        self._lock = threading.Lock()
        self._turns = FairLock()
        self._cohort: CohortFile | None = None

    def keep(self, cohort: Callable[[], CohortState]) -> None:
        """Keeps it beside the bodies, with the one that they begin with."""
        if self._kept is not None:
            kept = Checkpoints(self._kept.folder / COHORT)
            odd = odd_variables(self._half)
            self._cohort = CohortFile(kept, self._half, cohort, odd)

    @property
    def found_cohort(self) -> CohortState | None:
        """What its file had of it."""
        return None if self._cohort is None else self._cohort.found

    def turn(self) -> contextlib.AbstractContextManager[object]:
        """One of its own: bodies do not wait for it."""
        return self._turns.take("")

    @property
    def moment(self) -> Moment:
        """None: they are of many."""
        return Moment()

    def write_cohort(self) -> None:
        """Writes it, and the body with which newcomers begin."""
        if self._cohort is not None:
            self._cohort.write()

    def load(self) -> Sequence[Session]:
        """Goes on with the bodies whose sessions were open."""
        if self._kept is None:
            return []
        if self._kept.numbers:
            raise _other_bodies(self._kept.folder, "private", "shared")
        if self._cohort is not None:
            self._cohort.load()
        elif (self._kept.folder / COHORT).exists():
            raise DataError(
                "Expected checkpoints without a cohort. Received: those of a "
                f"private one in {self._kept.folder}, which would be lost. "
                "Serve it as it was, --cohort private, or choose another "
                "folder."
            )
        inside = Checkpoints(self._kept.folder / PRIVATE)
        fingerprint = self._half.contract.fingerprint
        odd = odd_variables(self._half)
        sessions: list[Session] = []
        for folder in sorted(inside.folders):
            kept = Checkpoints(folder)
            loaded = kept.load(fingerprint, odd)
            if loaded is None:
                shutil.rmtree(folder, ignore_errors=True)  # it took no step
                continue
            check_optimizer(loaded[0], self._optimizer, kept)
            if loaded[0].sessions:
                body = self._make(folder.name, loaded[0].sessions[0].client)
                found = _reopened(
                    body.load() or (), functools.partial(_session, body)
                )
                if found:
                    self._bodies[folder.name] = body
                sessions += found
        return sessions

    def open(self, start: SessionState) -> Session:
        """A session with the body of its client."""
        owner = _owner(start)
        with self._lock:
            body = self._bodies.get(owner)
            if body is None:
                own = self._optimizer is not None
                config = None if own else start.optimizer
                # Before anything is copied.
                self._half.optimizers.check(config, start.loss)
                body = self._make(owner, start.client)
                body.load()
                if start.client:  # else others use the same folder
                    body.snapshots.let_go_but([start.name])
            # Nobody else trains it, so its data is its client's own affair.
            session = _session(body, replace(start, data=DataDigest()))
            self._bodies[owner] = body
            return session

    def end(self, session: Session, *, forget: bool) -> None:
        """Puts the body of a client away with its last session."""
        owner = _owner(session)
        with self._lock:
            body = session.body
            body.leave(session)
            if not body.unused:
                return
            self._bodies.pop(owner, None)
            body.half.in_flight.end_all()
            if forget and session.client:
                body.write()
            elif forget:
                body.forget()
        del body
        if forget:
            # Models and graphs are cycles, of too few objects for the
            # collector to come by itself before others need their memory.
            gc.collect()

    def __iter__(self) -> Iterator[Body]:
        """Those of clients that have sessions."""
        with self._lock:
            return iter([*self._bodies.values()])

    def _make(self, owner: str, client: str) -> Body:
        """A copy of the body that is served."""
        half = self._half.copy()
        optimizer = self._optimizer and half.adopt(self._optimizer)
        # A tag is a secret of who took the snapshot, so those without a name
        # have one folder, and find theirs again in another session.
        snapshots, kept = self._snapshots, None
        try:
            if client:
                snapshots = snapshots.inside(owner)
            if self._kept is not None:
                kept = Checkpoints(self._kept.folder / PRIVATE / owner)
        except (DataError, OSError) as error:
            _LOG.error("a client's body cannot be kept: %s", error)
            raise ProtocolError(
                "Expected to keep a body for this client. Received: an error "
                "of the server's disk; its log says which. Free some space "
                "there.",
                "checkpoint",
            ) from error
        return Body(half, optimizer, self._options, snapshots, kept)


KINDS: dict[str, type[Bodies]] = {
    "shared": SharedBody,
    "private": PrivateBodies,
}


def kept_at(checkpoints: Path, client: str) -> Path:
    """Where the private body of a client is kept, if it is.

    Args:
        checkpoints: Folder of the server's.
        client: Its name.
    """
    return checkpoints / PRIVATE / _folder("client", client)


def _owner(session: Session | SessionState) -> str:
    """Whose body it is, as the name of a folder that tells nobody more."""
    if session.client:
        return _folder("client", session.client)
    return _folder("session", session.name)


def _folder(kind: str, name: str) -> str:
    return hashlib.sha256(f"{kind} {name}".encode()).hexdigest()[:32]


def _session(body: Body, start: SessionState) -> Session:
    """Someone who trains a body."""
    session = Session(start, body)
    body.join(session)
    return session


def _reopened(
    starts: Sequence[SessionState], open: Callable[[SessionState], Session]
) -> list[Session]:
    """The sessions of a checkpoint, but for those that cannot go on.

    What their clients asked for is read as strictly as in a `Hello`; an
    older server may have let in more.
    """
    sessions = []
    for start in starts:
        try:
            sessions.append(open(start))
        except ProtocolError as error:
            name = label(start.name)
            _LOG.error("session %s cannot go on, and ends: %s", name, error)
    return sessions


def _other_bodies(folder: Path, asked: str, found: str) -> DataError:
    return DataError(
        f"Expected checkpoints of {asked} bodies in {folder}. Received: those "
        f"of {found} ones. Choose another folder, or serve it as it was: "
        f"--bodies {found}."
    )
