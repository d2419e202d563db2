"""When a server writes its state, and which steps have outlived it since."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from keras_split.checkpoints import Checkpoints
from keras_split.checkpoints import HostState
from keras_split.errors import ProtocolError
from keras_split.events import Events
from keras_split.session import Session

_LOG = logging.getLogger("keras_split.server")


class Checkpointer:
    """Writes a state every so many steps, in a thread of its own.

    A session's first step is written before it is answered, so a server that
    comes back knows every session that has taken one. A step counts as
    durable when the last two states hold it: should the last be damaged, the
    one before will do, and clients still have what came after.

    Args:
        checkpoints: Where states are kept.
        every: Steps from one to the next.
        capture: Takes the state; called while nothing else runs.
        events: Hears of each.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        every: int,
        capture: Callable[[], HostState],
        events: Events,
    ) -> None:
        self._checkpoints = checkpoints
        self._every = every
        self._capture = capture
        self._events = events
        self._since = 0
        self._written: deque[dict[str, int]] = deque(maxlen=2)
        self._writing: threading.Thread | None = None

    @property
    def steps_since(self) -> int:
        """Steps that no state holds yet."""
        return self._since

    def durable_steps(self, session: Session) -> int:
        """Steps of a session below this one outlive the server."""
        return min((s.get(session.name, 0) for s in self._written), default=0)

    def loaded(self, state: HostState) -> None:
        """Takes note of the state that the server started with."""
        counts = {s.name: s.next_step for s in state.sessions}
        self._written.extend([counts, counts])

    def stepped(self, session: Session) -> None:
        """A step was committed; called while nothing else runs."""
        self._since += 1
        known = self._written and session.name in self._written[-1]
        if not known:
            self.try_now()
        elif self._since >= self._every and not self._busy():
            state = self._capture()
            self._since = 0
            self._writing = threading.Thread(
                target=self._write, args=(state,), name="checkpoint"
            )
            self._writing.start()

    def try_now(self) -> bool:
        """Writes a state and waits for it; called while nothing else runs."""
        self.wait()
        written = self._write(self._capture())
        if written:
            self._since = 0
        return written

    def now(self) -> None:
        """The same, where it must not fail.

        Raises:
            ProtocolError: With reason `"checkpoint"`, if it cannot be written.
        """
        if not self.try_now():
            raise ProtocolError(
                "Expected to write a checkpoint. Received: an error of the "
                "server's disk; its log says which. The steps are taken, but "
                "would be lost with the server. Free some space there.",
                "checkpoint",
            )

    def wait(self) -> None:
        """Waits for the state that is being written, if one is."""
        if self._writing is not None:
            self._writing.join()

    def _busy(self) -> bool:
        return self._writing is not None and self._writing.is_alive()

    def _write(self, state: HostState) -> bool:
        began = time.perf_counter()
        try:
            path: Path = self._checkpoints.save(state)
        except OSError as error:
            _LOG.error(
                "no checkpoint was written (%s); training goes on, and the "
                "one before is kept",
                error,
            )
            return False
        counts = {s.name: s.next_step for s in state.sessions}
        self._written.append(counts)
        self._events.checkpointed(str(path), time.perf_counter() - began)
        return True
