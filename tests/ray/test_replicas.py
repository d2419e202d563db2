"""Who is sent where, and what becomes of a replica that died."""

import time

import pytest

from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.protocol.status import ServerStatus
from keras_split.ray import replicas
from keras_split.ray.replica import Look
from keras_split.ray.replicas import Replicas
from keras_split.server.bodies import kept_at
from keras_split.server.config import ServerConfig
from tests.ray.fake_ray import FakeRay
from tests.ray.fake_ray import Method
from tests.ray.fake_ray import RayError
from tests.ray.fake_ray import RayTaskError


class Actor:
    """A replica whose process can die."""

    def __init__(self, number):
        self.number, self.process = number, 1
        self.sessions = ()
        self.state = "new"
        self.start, self.look = Method(self._start), Method(self._look)
        self.stop = Method(lambda grace_s: setattr(self, "state", "stopped"))

    def _start(self, make, config, missed):
        if self.state == "broken":
            raise RayTaskError(DataError("Expected flour. Received: salt."))
        self.state = "up"
        return self._look()

    def _look(self):
        if self.state == "dead":
            raise RayError("the actor died")
        if self.state == "new":
            return None
        return Look(
            f"h{self.number}:{self.process}",
            self.sessions,
            ServerStatus("f", steps=1),
            self.process,
        )


@pytest.fixture
def two(monkeypatch, tmp_path):
    """`(replicas, actors)`, looked after all the time."""
    monkeypatch.setattr(replicas, "_EVERY_S", 0.01)
    actors = Actor(0), Actor(1)
    configs = [
        ServerConfig(checkpoints=tmp_path / f"replica-{n}", bodies="private")
        for n in range(2)
    ]
    made = Replicas(FakeRay(*actors), None, configs)
    yield made, actors
    made.end()


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def refused(call, *arguments):
    with pytest.raises(ProtocolError) as error:
        call(*arguments)
    return error.value.reason


def test_new_sessions_go_where_fewest_are(two):
    made, actors = two
    actors[0].sessions = ("a", "b", "c")
    until(lambda: made.looks[0].sessions)

    assert made.choose("") == "h1:1"
    assert made.status().steps == 2


def test_a_session_is_found_where_it_is(two):
    made, actors = two
    actors[1].sessions = ("s",)

    assert made.find("s") == "h1:1"  # though no look has told of it
    assert refused(made.find, "t") == "session"


def test_a_client_with_a_name_goes_where_its_body_is(two, tmp_path):
    made, actors = two
    kept_at(tmp_path / "replica-1", "ann").mkdir(parents=True)
    actors[1].sessions = ("a", "b", "c")
    until(lambda: len(made.looks[1].sessions) == 3)

    assert made.choose("ann") == "h1:1"
    assert made.choose("bob") == "h0:1"
    actors[0].sessions = ("d", "e", "f", "g", "h")
    until(lambda: len(made.looks[0].sessions) == 5)
    assert made.choose("bob") == "h0:1"


def test_a_replica_that_died_serves_again(two):
    made, actors = two
    actors[0].sessions = ("s",)
    until(lambda: made.looks[0].sessions)

    actors[0].state = "dead"
    until(lambda: len(made.addresses) == 1)
    while_away = [refused(made.find, "s"), refused(made.find, "t")]
    other = made.choose("")
    actors[0].process, actors[0].state = 2, "new"
    until(lambda: len(made.addresses) == 2)

    assert (while_away, other) == (["busy", "busy"], "h1:1")
    assert made.find("s") == "h0:2"


def test_all_may_be_away(two):
    made, actors = two
    for actor in actors:
        actor.state = "dead"
    until(lambda: not made.addresses)

    assert refused(made.choose, "") == "busy"


def test_they_are_stopped_and_ended(two):
    made, actors = two

    made.stop(0.0)

    assert [actor.state for actor in actors] == ["stopped"] * 2
    assert made._ray.killed == [*actors]


def test_what_keeps_one_from_starting_is_said():
    actor = Actor(0)
    actor.state = "broken"
    ray = FakeRay(actor)

    with pytest.raises(DataError, match="^Expected flour"):
        Replicas(ray, None, [ServerConfig()])
    assert ray.killed == [actor]
