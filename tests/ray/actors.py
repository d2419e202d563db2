"""Replicas in this process, as FakeRay makes them."""

from keras_split.errors import DataError
from keras_split.protocol.status import ServerStatus
from keras_split.ray.replica import Look
from tests.ray.fake_ray import Hangs
from tests.ray.fake_ray import Method
from tests.ray.fake_ray import RayError
from tests.ray.fake_ray import RayTaskError


class Actor:
    """A replica whose process can die.

    Attributes:
        sessions: Names of those that it has.
        steps: That it has taken.
        phones: What it tells of its sessions.
        state: "new", "up", "dead", "hung", "broken" or "stopped".
    """

    def __init__(self, number):
        self.number, self.process = number, 1
        self.sessions, self.steps = (), 1
        self.phones = ()
        self.state = "new"
        self.start, self.look = Method(self._start), Method(self._look)
        self.stop = Method(lambda grace_s: setattr(self, "state", "stopped"))

    def die(self):
        """Another process is there at once."""
        self.process, self.state = self.process + 1, "new"

    def _start(self, make, config, missed):
        if self.state == "broken":
            raise RayTaskError(DataError("Expected flour. Received: salt."))
        self.state = "up"
        return self._look()

    def _look(self):
        if self.state == "dead":
            raise RayError("the actor died")
        if self.state == "hung":
            raise Hangs()
        if self.state == "new":
            return None
        return Look(
            f"h{self.number}:{self.process}",
            self.sessions,
            ServerStatus(
                "f", steps=self.steps, memory_bytes=7, sessions=self.phones
            ),
            self.process,
        )
