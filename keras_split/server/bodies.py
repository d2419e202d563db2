"""Which body a session trains: one for all, or one a client."""

import abc
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from keras_split.errors import DataError
from keras_split.server.body import Body
from keras_split.server.body import BodyOptions
from keras_split.server.session import Session
from keras_split.server.session_state import SessionState
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.server.storage.snapshots import Snapshots

if TYPE_CHECKING:
    from keras_split.training.body_optimizer import BodyOptimizer
    from keras_split.training.server_step import ServerHalf


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
        self._body = Body(
            self._half, self._optimizer, self._options, self._snapshots, kept
        )

    def load(self) -> Sequence[Session]:
        """Goes on from the last checkpoint, or writes the first one."""
        found = self._body.load()
        if found is None:
            self._body.write_first()
        return [self.open(start) for start in found or ()]

    def open(self, start: SessionState) -> Session:
        """A session that trains the body beside others."""
        self._half.refresh()
        session = Session(start, self._body)
        self._body.join(session)
        return session

    def end(self, session: Session, *, forget: bool) -> None:
        """Frees nothing: the body is the server's."""
        self._body.leave(session)

    def __iter__(self) -> Iterator[Body]:
        """The one."""
        return iter([self._body])


def get(kind: str) -> type[Bodies]:
    """The bodies of that kind.

    Args:
        kind: `"shared"` for one that all clients train, `"private"` for one
            a client.

    Raises:
        DataError: If there is no such kind.
    """
    kinds: dict[str, type[Bodies]] = {
        "shared": SharedBody,
    }
    if kind not in kinds:
        raise DataError(
            f"Expected bodies to be one of {', '.join(kinds)}. Received: "
            f"{kind!r}. With one a client each trains as if alone."
        )
    return kinds[kind]
