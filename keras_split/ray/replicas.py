"""The replicas of a server: which there are, and who has which session."""

import logging
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from keras_split.errors import ProtocolError
from keras_split.errors import TransportError
from keras_split.protocol.status import ReplicaStatus
from keras_split.ray.averaged_body import BodyState
from keras_split.ray.averaging import Averaging
from keras_split.ray.place import Place
from keras_split.ray.raised import raised
from keras_split.ray.replica import Look
from keras_split.ray.replica import Replica
from keras_split.ray.replica import ReplicaConfig
from keras_split.ray.settings import settings
from keras_split.server.session_state import not_open

_LOG = logging.getLogger("keras_split.server")
_EVERY_S = 0.5
_EVERY_S_AVERAGED = 0.1
_LEAST_S = 0.02  # however many ask for sessions that nobody knows
_WAIT_S = 0.1  # for answers, until those that are there are asked again
_PATIENCE_S = 4.0  # of a client whose session nobody knows
_CALLS = 3  # of a replica at a time: one that starts answers, too
_START_S = 600.0  # until all are there
_STOP_S = 10.0  # beside the grace that steps get


class Replicas:
    """Servers in processes of Ray, started again when they die.

    A thread asks each how it is, twice a second. A process that Ray started
    in the place of one that died, on another machine if need be, is told to
    serve; with checkpoints in a folder that all machines share it goes on
    where the other was. Nobody waits for one that does not answer: what is
    asked of them together is known of the others.

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
        configs: Sequence[ReplicaConfig],
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
            # So that the machine that is lost has few of them.
            scheduling_strategy="SPREAD",
        )
        known = settings(cpus, gpus)
        self._places = [Place(actor.remote(known), one) for one in configs]
        self.averaging: Averaging | None = None
        if average_every is not None and origin is not None:
            actors = [place.actor for place in self._places]
            self.averaging = Averaging(ray, average_every, origin, actors)
        self._clients: dict[str, Place] = {}  # by name, where their body is
        self._changing = threading.Condition(threading.RLock())
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._watch, daemon=True)]
        if self.averaging is not None:
            self._threads.append(
                threading.Thread(target=self._average, daemon=True)
            )
        try:
            self._start()
        except BaseException:
            self.end()
            raise
        for thread in self._threads:
            thread.start()

    @property
    def looks(self) -> list[Look]:
        """How those are that serve now."""
        with self._changing:
            return [p.look for p in self._places if p.up and p.look is not None]

    @property
    def statuses(self) -> list[ReplicaStatus]:
        """What each does, or did when it last answered."""
        with self._changing:
            return [place.status for place in self._places]

    # -- who goes where: `keras_split.server.front.Directory` ----------------

    def choose(self, client: str) -> str:
        """Where its body is, or the one with fewest sessions; see `Directory`.

        A client with a name has one body for all its sessions, unless bodies
        are all the same.
        """
        if self.averaging is not None:
            client = ""
        # Storage may be far away: nobody waits for it but who asks.
        kept = self._clients.get(client) or self._kept(client)
        with self._changing:
            place = self._clients.get(client) or kept
            if place is None:
                there = [place for place in self._places if place.up]
                if not there:
                    raise _away()
                place = min(there, key=lambda place: (place.late, place.load))
            if client:
                self._clients[client] = place
            if not place.up:
                raise _away()
            place.send()
            assert place.look is not None
            return place.look.address

    def find(self, session: str) -> str:
        """See `Directory`.

        One that is new is asked for at once; nobody waits for a replica that
        is late, which may be the one that has it.
        """
        began = time.monotonic()
        with self._changing:
            while (place := self._known(session)) is None:
                if all(p.up and p.told > began for p in self._places):
                    raise not_open()
                if not self._tells(began):
                    raise _away()  # maybe it is one of theirs
                self._wanted.set()
                self._changing.wait(_WAIT_S)
            if not place.up:
                raise _away()
            assert place.look is not None
            return place.look.address

    def _tells(self, began: float) -> bool:
        """Whether anybody is about to say which sessions it has now."""
        if time.monotonic() - began > _PATIENCE_S or self._stopped.is_set():
            return False
        return any(
            place.up and not place.late and place.told <= began
            for place in self._places
        )

    def _kept(self, client: str) -> Place | None:
        """Which has a body of that client in its checkpoints."""
        return next((p for p in self._places if p.keeps(client)), None)

    def _known(self, session: str) -> Place | None:
        found = [place for place in self._places if place.has(session)]
        return found[0] if found else None

    # -- life ----------------------------------------------------------------

    def stop(self, grace_s: float) -> None:
        """Has each finish its steps and write a last checkpoint."""
        self._stopped.set()
        self._wanted.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
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
        done, _ = self._ray.wait(
            asked, num_returns=len(asked), timeout=grace_s + _STOP_S
        )
        for place, reference in zip(self._places, asked, strict=True):
            place.up = place.up and reference in done
        self._look(_STOP_S)  # hears what was asked before
        self._look(_STOP_S)
        averaging.look_after(lambda: self._there, now=True)

    @property
    def _there(self) -> list[int]:
        return [n for n, place in enumerate(self._places) if place.up]

    def _watch(self) -> None:
        every_s = _EVERY_S if self.averaging is None else _EVERY_S_AVERAGED
        while not self._stopped.is_set():
            self._wanted.wait(every_s)
            self._wanted.clear()
            self._look()
            self._stopped.wait(_LEAST_S)

    def _average(self) -> None:
        """Beside `_watch`, which goes on while bodies are on their way."""
        assert self.averaging is not None
        while not self._stopped.wait(_EVERY_S_AVERAGED):
            self.averaging.look_after(
                lambda: [] if self._stopped.is_set() else self._there
            )

    def _look(self, wait_s: float = _WAIT_S) -> None:
        """Asks all at once how they are, and hears those that answer."""
        with self._changing:
            for place in self._places:
                place.ask()
        end = time.monotonic() + wait_s
        owing = list(self._places)
        while owing:
            waits = not all(place.late for place in owing)
            left_s = end - time.monotonic() if waits else 0.0
            done, _ = self._ray.wait(
                [place.asked for place in owing],
                num_returns=1,
                timeout=max(0.0, left_s),
            )
            if not done:
                break
            found = [place for place in owing if place.asked in done]
            owing = [place for place in owing if place not in found]
            for place in found:
                self._hear(place)
        with self._changing:
            for place in owing:
                place.up = place.up and not place.silent
                if place.hung:
                    _LOG.warning(
                        "replica %s does not answer; its process is ended.",
                        place.name,
                    )
                    place.kill(self._ray)
            self._changing.notify_all()

    def _hear(self, place: Place) -> None:
        """Takes what a replica answered."""
        found: Look | None = None
        try:
            found = self._ray.get(place.asked)
        except self._ray.exceptions.RayTaskError as error:
            self._lost(place)
            _LOG.error("replica %s cannot serve: %s", place.name, raised(error))
            return
        except self._ray.exceptions.RayError:
            if self._lost(place):
                _LOG.warning(
                    "replica %s died; it is started again.", place.name
                )
            return
        with self._changing:
            if found is not None:
                self._took(place, found)
            else:
                self._lost(place)
                self._ask_to_start(place)
            self._changing.notify_all()

    def _lost(self, place: Place) -> bool:
        """Notes that one does not serve; whether it did."""
        with self._changing:
            was, place.up, place.asked = place.up, False, None
            return was

    def _ask_to_start(self, place: Place) -> None:
        missed = None
        if self.averaging is not None:
            missed = self.averaging.missed(self._places.index(place))
        place.waits_for(
            place.actor.start.remote(self._make, place.config, missed),
            starting=True,
        )

    def _took(self, place: Place, look: Look) -> None:
        if place.answered(look):
            _LOG.warning(
                "replica %s serves again, on %s, with %d sessions.",
                place.name,
                look.address,
                len(look.sessions),
            )
        if self.averaging is not None:
            self.averaging.saw(self._places.index(place), look)


def _away() -> ProtocolError:
    return ProtocolError(
        "Expected a replica that serves. Received: the one that is asked for "
        "is being started again. Try again later.",
        "busy",
    )
