"""The replicas of a server: which there are, and who has which session."""

import logging
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_split.errors import ProtocolError
from keras_split.errors import TransportError
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status_sum import together
from keras_split.ray.averaged_body import BodyState
from keras_split.ray.averaging import Averaging
from keras_split.ray.raised import raised
from keras_split.ray.replica import Look
from keras_split.ray.replica import Replica
from keras_split.ray.settings import settings
from keras_split.server.bodies import kept_at
from keras_split.server.config import ServerConfig
from keras_split.server.session_state import not_open

_LOG = logging.getLogger("keras_split.server")
_EVERY_S = 0.5
_EVERY_S_AVERAGED = 0.1
_SILENT_S = 10.0  # then nobody is sent to a replica until it answers
_CALLS = 3  # of a replica at a time: one that starts answers, too
_START_S = 600.0  # until all are there
_STOP_S = 10.0  # beside the grace that steps get


@dataclass(eq=False)
class _Place:
    """One replica, as far as it is known.

    Attributes:
        actor: Ray's handle.
        config: What it serves with.
        look: How it was when it last answered; None before it did.
        up: Whether it serves.
        asked: What it has been asked and has not answered, and since when.
        sent: Clients that were sent there since that look.
    """

    actor: Any
    config: ServerConfig
    look: Look | None = None
    up: bool = False
    asked: Any = None
    since: float = 0.0
    sent: int = 0

    @property
    def load(self) -> int:
        """Sessions that it has, or is about to have."""
        return self.sent + (len(self.look.sessions) if self.look else 0)

    def has(self, session: str) -> bool:
        """Whether it had a session when it last answered."""
        return self.look is not None and session in self.look.sessions


class Replicas:
    """Servers in processes of Ray, started again when they die.

    A thread asks each how it is, twice a second. A process that Ray started
    in the place of one that died, on another machine if need be, is told to
    serve; with checkpoints in a folder that all machines share it goes on
    where the other was.

    Args:
        ray: The module, initialized.
        make: Makes the `ServerModel` in each process.
        configs: One for each replica.
        cpus: Of each.
        gpus: Of each.
        average_every: Steps of each until their bodies become one; None for
            those of which each is a client's own, or is not trained.
        origin: The body that is served, for averages.

    Attributes:
        averaging: Makes their bodies one; None if nobody does.

    Raises:
        SplitError: What kept one from starting.
        TransportError: If one does not start in ten minutes.
    """

    def __init__(
        self,
        ray: Any,
        make: Callable[[], Any],
        configs: Sequence[ServerConfig],
        cpus: int = 1,
        gpus: float = 0.0,
        average_every: int | None = None,
        origin: BodyState | None = None,
    ) -> None:
        self._ray = ray
        self._make = [ray.put(make)]
        actor = ray.remote(Replica).options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=-1,
            max_concurrency=_CALLS,
        )
        known = settings(cpus, gpus)
        self._places = [_Place(actor.remote(known), one) for one in configs]
        self.averaging: Averaging | None = None
        if average_every is not None and origin is not None:
            actors = [place.actor for place in self._places]
            self.averaging = Averaging(ray, average_every, origin, actors)
        self._clients: dict[str, _Place] = {}  # by name, where their body is
        self._changing = threading.RLock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        try:
            self._start()
        except BaseException:
            self.end()
            raise
        self._thread.start()

    @property
    def addresses(self) -> list[str]:
        """Of those that serve now."""
        return [look.address for look in self.looks]

    @property
    def looks(self) -> list[Look]:
        """How those are that serve now."""
        with self._changing:
            return [p.look for p in self._places if p.up and p.look is not None]

    def status(self) -> ServerStatus:
        """What all of them do, as if they were one server."""
        with self._changing:
            known = [p.look.status for p in self._places if p.look is not None]
        return together(known)

    # -- who goes where: `keras_split.server.front.Directory` ----------------

    def choose(self, client: str) -> str:
        """Where its body is, or the one with fewest sessions; see `Directory`.

        A client with a name has one body for all its sessions, unless bodies
        are all the same.
        """
        if self.averaging is not None:
            client = ""
        with self._changing:
            place = self._clients.get(client) or self._kept(client)
            if place is None:
                there = [place for place in self._places if place.up]
                if not there:
                    raise _away()
                place = min(there, key=lambda place: place.load)
            if client:
                self._clients[client] = place
            if not place.up:
                raise _away()
            place.sent += 1
            assert place.look is not None
            return place.look.address

    def find(self, session: str) -> str:
        """See `Directory`."""
        with self._changing:
            if not self._known(session):
                self._look_again()
            place = self._known(session)
            if place is None:
                if all(place.up for place in self._places):
                    raise not_open()
                raise _away()  # maybe it is one of its own
            if not place.up:
                raise _away()
            assert place.look is not None
            return place.look.address

    def _kept(self, client: str) -> _Place | None:
        """Which has a body of that client in its checkpoints."""
        for place in self._places if client else ():
            folder = place.config.checkpoints
            if folder and kept_at(Path(folder), client).exists():
                return place
        return None

    def _known(self, session: str) -> _Place | None:
        found = [place for place in self._places if place.has(session)]
        return found[0] if found else None

    # -- life ----------------------------------------------------------------

    def stop(self, grace_s: float) -> None:
        """Has each finish its steps and write a last checkpoint."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        if self.averaging is not None:
            self._average_last(self.averaging, grace_s)
        asked = [place.actor.stop.remote(grace_s) for place in self._places]
        done, _ = self._ray.wait(
            asked, num_returns=len(asked), timeout=grace_s + _STOP_S
        )
        if len(done) < len(asked):
            _LOG.warning(
                "%d of %d replicas did not stop in time; they go on from their "
                "last checkpoint.",
                len(asked) - len(done),
                len(asked),
            )
        self.end()

    def end(self) -> None:
        """Ends the processes, whatever they do."""
        self._stopped.set()
        for place in self._places:
            self._ray.kill(place.actor)

    def _start(self) -> None:
        """Waits until all of them serve."""
        for place in self._places:
            self._ask_to_start(place)
        asked = [place.asked for place in self._places]
        done, _ = self._ray.wait(
            asked, num_returns=len(asked), timeout=_START_S
        )
        if len(done) < len(asked):
            raise TransportError(
                f"Expected {len(asked)} replicas to start within "
                f"{_START_S:.0f} s. Received: {len(done)}. See `ray status` "
                "for what the cluster lacks, or ask for fewer."
            )
        for place in self._places:
            try:
                self._took(place, self._ray.get(place.asked))
            except self._ray.exceptions.RayTaskError as error:
                raise raised(error) from None

    def _average_last(self, averaging: Averaging, grace_s: float) -> None:
        """One of all steps, when no more are taken."""
        asked = [place.actor.drain.remote(grace_s) for place in self._places]
        self._ray.wait(asked, num_returns=len(asked), timeout=grace_s + _STOP_S)
        with self._changing:
            self._look_again()
            for number, place in enumerate(self._places):
                if place.up and place.look is not None:
                    averaging.saw(number, place.look)
        averaging.look_after(self._there, now=True)

    @property
    def _there(self) -> list[int]:
        return [n for n, place in enumerate(self._places) if place.up]

    def _watch(self) -> None:
        every_s = _EVERY_S if self.averaging is None else _EVERY_S_AVERAGED
        while not self._stopped.wait(every_s):
            for place in self._places:
                if place.asked is None:
                    place.asked = place.actor.look.remote()
                    place.since = time.monotonic()
            asked = [place.asked for place in self._places]
            self._ray.wait(asked, num_returns=len(asked), timeout=_EVERY_S)
            with self._changing:
                for place in self._places:
                    self._hear(place)
            if self.averaging is not None:
                self.averaging.look_after(self._there)

    def _hear(self, place: _Place) -> None:
        """Takes what a replica answered, if it did."""
        done, _ = self._ray.wait([place.asked], timeout=0)
        if not done:
            if time.monotonic() - place.since > _SILENT_S:
                place.up = False
            return
        asked, place.asked = place.asked, None
        try:
            found = self._ray.get(asked)
        except self._ray.exceptions.RayTaskError as error:
            place.up = False
            _LOG.error("a replica cannot serve: %s", raised(error))
        except self._ray.exceptions.RayError:
            if place.up:
                _LOG.warning("a replica died; it is started again.")
            place.up = False
        else:
            if found is None:
                place.up = False
                self._ask_to_start(place)
            else:
                self._took(place, found)

    def _ask_to_start(self, place: _Place) -> None:
        missed = None
        if self.averaging is not None:
            missed = self.averaging.missed(self._places.index(place))
        place.asked = place.actor.start.remote(self._make, place.config, missed)
        place.since = time.monotonic()

    def _took(self, place: _Place, look: Look) -> None:
        if place.look is not None and place.look.process != look.process:
            _LOG.warning(
                "a replica serves again, on %s, with %d sessions.",
                look.address,
                len(look.sessions),
            )
        place.look, place.up, place.sent, place.asked = look, True, 0, None
        if self.averaging is not None:
            self.averaging.saw(self._places.index(place), look)

    def _look_again(self) -> None:
        """Asks those that serve at once: for a session that is new."""
        there = [place for place in self._places if place.up]
        asked = [place.actor.look.remote() for place in there]
        done, _ = self._ray.wait(
            asked, num_returns=len(asked), timeout=_SILENT_S
        )
        for place, reference in zip(there, asked, strict=True):
            if reference not in done:
                continue
            try:
                found = self._ray.get(reference)
            except self._ray.exceptions.RayError:
                place.up = False
                continue
            if found is not None:
                place.look, place.sent = found, 0


def _away() -> ProtocolError:
    return ProtocolError(
        "Expected a replica that serves. Received: the one that is asked for "
        "is being started again. Try again later.",
        "busy",
    )
