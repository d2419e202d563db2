"""When a server writes its state, and which steps have outlived it since."""

import logging
import threading
import time
from collections.abc import Callable
from collections.abc import Collection
from pathlib import Path

from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.server.callbacks import ServerCallback
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.server.storage.checkpoints import HostState

_LOG = logging.getLogger("keras_split.server")
# Those that only bytes ask for may take a fiftieth of the time: a large body
# on a fast server would else do nothing but write.
_PAUSES = 50


class Checkpointer:
    """Writes a state every so many steps or bytes, in a thread of its own.

    Bytes count for the sake of clients: they keep what they sent since.
    A session's first step is written before it is answered, so a server that
    comes back knows every session that has taken one. A step counts as
    durable when the last two states hold it: should the last be damaged, the
    one before will do, and clients still have what came after.

    Args:
        checkpoints: Where states are kept.
        every: Steps from one to the next.
        every_bytes: Or what one session sent meanwhile, if that is less;
            unless the last one took long.
        capture: Takes the state; called while nothing else runs.
        events: Hears of each.
        odd: As in `HostState.check_finite`.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        every: int,
        every_bytes: int,
        capture: Callable[[], HostState],
        events: ServerCallback,
        odd: Collection[int] = (),
    ) -> None:
        self._checkpoints = checkpoints
        self._every = every
        self._every_bytes = every_bytes
        self._capture = capture
        self._events = events
        self._odd = odd
        self._failed = ""
        self._steps = self._tried = self._saved = 0
        # The last two: a tuple, for others read while another is written.
        self._written: tuple[dict[str, int], ...] = ()
        self._writing: threading.Thread | None = None
        self._received: dict[str, int] = {}
        self._pause_until = 0.0

    def durable_steps(self, session: str) -> int:
        """Steps of a session below this one outlive the server."""
        return min((s.get(session, 0) for s in self._written), default=0)

    def loaded(self, state: HostState) -> None:
        """Takes note of the state that the server started with."""
        counts = {s.name: s.next_step for s in state.sessions}
        self._written = (counts, counts)

    def received(self, session: str, nbytes: int) -> None:
        """Tensors of a step have come, which their client keeps."""
        self._received[session] = self._received.get(session, 0) + nbytes

    def stepped(self, session: str) -> None:
        """A step was committed; called while nothing else runs."""
        self._steps += 1
        known = self._written and session in self._written[-1]
        if not known:
            self.try_now()
        elif self._due(session) and not self._busy():
            self._begin()
            self._writing = threading.Thread(
                target=self._write,
                args=(self._capture(), self._steps),
                name="checkpoint",
            )
            self._writing.start()

    def try_now(self, *, anyway: bool = True) -> bool:
        """Writes a state and waits for it; called while nothing else runs.

        Args:
            anyway: Whether to write one even if the last has every step.

        Returns:
            Whether the last state on the disk has every step.
        """
        self.wait()
        if not anyway and self._saved == self._steps and self._written:
            return True
        self._begin()
        return self._write(self._capture(), self._steps)

    def make_sure(self, *, anyway: bool = False) -> None:
        """The same, where it must not fail.

        Args:
            anyway: As in `try_now`.

        Raises:
            ProtocolError: With reason `"checkpoint"`, if it cannot be written.
        """
        if not self.try_now(anyway=anyway):
            raise ProtocolError(
                f"Expected to write a checkpoint. Received: {self._failed} "
                "The steps are taken, but would be lost with the server.",
                "checkpoint",
            )

    def make_sure_of_restored(self) -> None:
        """Writes a state in any case, for the last one is of another time.

        Raises:
            ProtocolError: With reason `"checkpoint"`, if it cannot be written.
        """
        if not self.try_now():
            raise ProtocolError(
                "Expected to write a checkpoint after the body was set back. "
                f"Received: {self._failed} The body is as it was then, but "
                "would not be so after a restart: restore it again.",
                "checkpoint",
            )

    def wait(self) -> None:
        """Waits for the state that is being written, if one is."""
        if self._writing is not None:
            self._writing.join()

    def _due(self, session: str) -> bool:
        if self._steps - self._tried >= self._every:
            return True
        much = self._received.get(session, 0) >= self._every_bytes
        return much and time.monotonic() >= self._pause_until

    def _begin(self) -> None:
        self._tried = self._steps
        self._received.clear()

    def _busy(self) -> bool:
        return self._writing is not None and self._writing.is_alive()

    def _write(self, state: HostState, steps: int) -> bool:
        began = time.perf_counter()
        try:
            path: Path = self._checkpoints.save(state, self._odd)
        except (OSError, DataError) as error:
            self._failed = (
                "an error of the server's disk; its log says which. Free "
                "some space there."
                if isinstance(error, OSError)
                else "weights or slots that are not finite."
            )
            _LOG.error(
                "no checkpoint was written (%s); training goes on, and the "
                "one before is kept",
                error,
            )
            return False
        counts = {s.name: s.next_step for s in state.sessions}
        self._written = (*self._written, counts)[-2:]
        self._saved = steps
        took_s = time.perf_counter() - began
        self._pause_until = time.monotonic() + _PAUSES * took_s
        self._events.checkpointed(str(path), took_s)
        return True
