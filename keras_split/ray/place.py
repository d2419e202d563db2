"""One replica, as far as its front knows it."""

import time
from pathlib import Path
from typing import Any

from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status_sum import continued
from keras_split.ray.replica import Look
from keras_split.ray.replica import ReplicaConfig
from keras_split.server.bodies import kept_at

_LATE_S = 2.0  # without an answer; then nobody waits for it
_SILENT_S = 10.0  # then nobody is sent there until it answers
_HUNG_S = 60.0  # then its process is ended, if another one can go on
_ON_THE_WAY_S = 10.0  # a client that was sent there; then it is not coming


class Place:
    """One replica, as far as its front knows it.

    Args:
        actor: Ray's handle.
        config: What it serves with.

    Attributes:
        actor: The same.
        config: The same.
        look: How it was when it last answered; None before it did.
        up: Whether it serves.
        asked: What it has been asked and has not answered; None for nothing.
        told: When it was asked what it last answered; see `time.monotonic`.
    """

    def __init__(self, actor: Any, config: ReplicaConfig) -> None:
        self.actor, self.config = actor, config
        self.look: Look | None = None
        self.up = False
        self.asked: Any = None
        self.told = 0.0
        self._sent: list[float] = []  # when, of those who are on the way
        self._restarts = 0
        self._starting = False
        self._since = self._heard = time.monotonic()
        self._before = ServerStatus("")

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.config.number)

    @property
    def load(self) -> int:
        """Sessions that it has, or is about to have."""
        soonest = time.monotonic() - _ON_THE_WAY_S
        coming = sum(sent > soonest for sent in self._sent)
        return coming + (len(self.look.sessions) if self.look else 0)

    @property
    def late(self) -> bool:
        """Whether it takes so long to answer that it may be hung."""
        return self.asked is not None and self._asked_s > _LATE_S

    @property
    def silent(self) -> bool:
        """Whether it takes longer than anything that goes well."""
        return self.asked is not None and self._asked_s > _SILENT_S

    @property
    def hung(self) -> bool:
        """Whether its process is to be ended, and another one to go on.

        One without checkpoints has sessions that another would not have, and
        one that starts may have much to load.
        """
        if self.asked is None or self._starting:
            return False
        kept = self.config.server.checkpoints is not None
        return kept and self._asked_s > _HUNG_S

    @property
    def _asked_s(self) -> float:
        return time.monotonic() - self._since

    def has(self, session: str) -> bool:
        """Whether it had a session when it last answered."""
        return self.look is not None and session in self.look.sessions

    def keeps(self, client: str) -> bool:
        """Whether it has a body of that client in its checkpoints."""
        folder = self.config.server.checkpoints
        if not client or not folder:
            return False
        return kept_at(Path(folder), client).exists()

    def send(self) -> None:
        """Notes that a new client was sent there."""
        self._sent.append(time.monotonic())

    def ask(self) -> None:
        """Asks it how it is, if it owes no answer."""
        if self.asked is None:
            self.waits_for(self.actor.look.remote())

    def kill(self, ray: Any) -> None:
        """Ends its process, and Ray starts another.

        What it was asked is then answered by its death.

        Args:
            ray: The module.
        """
        ray.kill(self.actor, no_restart=False)
        self.waits_for(self.asked)

    def waits_for(self, asked: Any, *, starting: bool = False) -> None:
        """Notes what it was asked.

        Args:
            asked: Reference to the answer.
            starting: Whether it was asked to start.
        """
        self.asked, self._since = asked, time.monotonic()
        self._starting = starting

    def answered(self, look: Look) -> bool:
        """Takes an answer.

        Args:
            look: It.

        Returns:
            Whether it is of another process than the last one.
        """
        before, self.look = self.look, look
        self.up, self.asked = True, None
        known = () if before is None else before.sessions
        # Who is on the way when it looks is not among its sessions yet.
        arrived = len(set(look.sessions).difference(known))
        soonest = time.monotonic() - _ON_THE_WAY_S
        self._sent = [s for s in self._sent[arrived:] if s > soonest]
        self.told, self._heard = self._since, time.monotonic()
        if before is None or before.process == look.process:
            return False
        self._before = continued(self._before, before.status)
        self._restarts += 1
        return True

    @property
    def status(self) -> ReplicaStatus:
        """What there is to tell of it."""
        look = self.look
        now = ServerStatus("") if look is None else look.status
        return ReplicaStatus(
            self.name,
            "" if look is None else look.address,
            self.up,
            time.monotonic() - self._heard,
            self._restarts,
            continued(self._before, now) if self._restarts else now,
        )
