"""One server of several, in a process of its own."""

import contextlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras_split.errors import ProtocolError
from keras_split.protocol.moment import Moment
from keras_split.protocol.status import ServerStatus
from keras_split.ray.averaged_body import Average
from keras_split.ray.averaged_body import AveragedBody
from keras_split.ray.averaged_body import BodyState
from keras_split.ray.averaged_body import Kept
from keras_split.server.callbacks import ServerCallback
from keras_split.server.config import ServerConfig
from keras_split.server.observe import Audit
from keras_split.server.observe import Log
from keras_split.server.observe import logs
from keras_split.transports.address import join
from keras_split.utils import malloc

_EVERYWHERE = ("0.0.0.0", "::", "[::]")


@dataclass(frozen=True)
class Look:
    """How a replica is.

    Attributes:
        address: `"host:port"` at which clients reach it.
        sessions: Names of those that it has.
        status: What it does.
        process: Number of its process, on its machine.
        life: Of that process; no other has the same.
        learned: Steps in the body that all of its sessions train, those of
            earlier processes as well.
    """

    address: str
    sessions: tuple[str, ...]
    status: ServerStatus
    process: int
    life: str = ""
    learned: int = 0

    def same_process(self, other: "Look") -> bool:
        """Whether both are of one process."""
        return (self.process, self.life) == (other.process, other.life)


@dataclass(frozen=True)
class ReplicaConfig:
    """What a replica serves with.

    Attributes:
        number: Which one it is.
        server: Where it listens, and so on.
        audit_log: File to which it appends what happens; None for none.
        log_format: How its log on stderr is written; see `logs.configure`.
    """

    number: int
    server: ServerConfig
    audit_log: str | None = None
    log_format: str = "text"


class Replica:
    """A body with an endpoint and a port; an actor of Ray is one.

    Ray makes it again when its process dies, and then it has no server until
    it is told to start.

    Args:
        settings: Environment variables; TensorFlow is not loaded yet.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        os.environ.update(settings)
        malloc.keep()
        self._server: Any = None
        self._host = ""
        self._took = self._shared = False
        self._life = uuid.uuid4().hex
        self._owned = contextlib.ExitStack()

    def start(
        self,
        make: list[Any],
        config: ReplicaConfig,
        missed: tuple[Average, Sequence[Kept]] | None = None,
    ) -> Look:
        """Serves, from the last checkpoint on if there is one.

        Args:
            make: A reference to what makes the `ServerModel`, in a list, which
                Ray does not look into.
            config: What to serve with.
            missed: What its body has to `take` before anybody knows where it
                serves.
        """
        import ray

        util: Any = ray.util
        if self._server is None:
            self._host = config.server.address
            self._shared = config.server.bodies == "shared"
            if self._host in _EVERYWHERE:
                self._host = util.get_node_ip_address()
            self._serve(ray.get(make[0]), config)
        if missed is not None:
            self.take(*missed)
        look = self.look()
        assert look is not None
        return look

    def _serve(self, make: Any, config: ReplicaConfig) -> None:
        logs.configure(config.log_format)
        with contextlib.ExitStack() as stack:
            listeners: list[ServerCallback] = [Log()]
            if config.audit_log is not None:
                audit = Audit(config.audit_log, replica=config.number)
                listeners.append(stack.enter_context(audit))
            self._server = make().serve(config.server, listeners=listeners)
            self._owned = stack.pop_all()

    def look(self) -> Look | None:
        """How it is; None if it does not serve."""
        if self._server is None:
            return None
        endpoint, learned = self._server.endpoint, 0
        if self._shared:
            learned = endpoint.service.shared_body.half.timeline.learned
        return Look(
            join(self._host, self._server.port),
            endpoint.service.session_names,
            endpoint.told_status,
            os.getpid(),
            self._life,
            learned,
        )

    def give(self) -> BodyState:
        """Its body, for an average; see `AveragedBody`."""
        return self._averaged.give()

    def take(self, average: Average, bases: Sequence[Kept]) -> Moment:
        """Gives its body what an average brings; see `AveragedBody`."""
        moment = self._averaged.take(average, bases)
        self._took = True
        return moment

    def drain(self, grace_s: float) -> None:
        """Finishes steps in flight, and begins no other."""
        if self._server is not None:
            self._server.endpoint.drain(grace_s)

    def stop(self, grace_s: float) -> None:
        """Finishes steps in flight, writes a last checkpoint, and ends."""
        if self._server is not None:
            if self._took:  # which is no step, behind which one is written
                self._averaged.keep()
            self._server.stop(grace_s)
            self._server = None
            self._owned.close()

    @property
    def _averaged(self) -> AveragedBody:
        if self._server is None:
            raise ProtocolError(
                "Expected a replica that serves. Received: one whose process "
                "is new. Have it start first.",
                "busy",
            )
        body = self._server.endpoint.service.shared_body
        return AveragedBody(body, _fetch)


def _fetch(kept: Kept) -> BodyState | None:
    """What is kept; None if it went with a machine."""
    import ray

    errors: Any = ray.exceptions
    try:
        found: BodyState = ray.get(kept.reference[0])
    except errors.RayError:
        return None
    return found
