"""Who is sent where, and what becomes of a replica that died."""

import threading
import time

import pytest

from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.ray import place
from keras_split.ray import replicas
from keras_split.ray.replica import ReplicaConfig
from keras_split.ray.replicas import Replicas
from keras_split.server.bodies import kept_at
from keras_split.server.config import ServerConfig
from tests.ray.actors import Actor
from tests.ray.fake_ray import FakeRay


@pytest.fixture
def two(monkeypatch, tmp_path):
    """`(replicas, actors)`, looked after all the time."""
    monkeypatch.setattr(replicas, "_EVERY_S", 0.01)
    actors = Actor(0), Actor(1)
    configs = [
        ReplicaConfig(
            n,
            ServerConfig(
                checkpoints=tmp_path / f"replica-{n}", bodies="private"
            ),
        )
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


def test_who_is_on_the_way_counts_until_its_session_is_there(two):
    made, actors = two

    def looked():
        before = [p.told for p in made._places]
        until(
            lambda: all(
                p.told > t for p, t in zip(made._places, before, strict=True)
            )
        )

    sent = [made.choose("")]
    looked()
    sent.append(made.choose(""))  # the first has no session there yet
    actors[0].sessions = ("a",)
    looked()
    sent.append(made.choose(""))
    actors[1].sessions = ("b",)
    looked()
    sent.append(made.choose(""))

    assert sent == ["h0:1", "h1:1", "h0:1", "h1:1"]


def test_who_does_not_come_is_forgotten(two, monkeypatch):
    monkeypatch.setattr(place, "_ON_THE_WAY_S", 0.0)
    made, actors = two
    actors[1].sessions = ("a",)
    until(lambda: made.looks[1].sessions)

    assert [made.choose("") for _ in range(3)] == 3 * ["h0:1"]


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
    until(lambda: len(made.looks) == 1)
    while_away = [refused(made.find, "s"), refused(made.find, "t")]
    other = made.choose("")
    actors[0].process, actors[0].state = 2, "new"
    until(lambda: len(made.looks) == 2)

    assert (while_away, other) == (["busy", "busy"], "h1:1")
    assert made.find("s") == "h0:2"


def test_all_may_be_away(two):
    made, actors = two
    for actor in actors:
        actor.state = "dead"
    until(lambda: not made.looks)

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
        Replicas(ray, None, [ReplicaConfig(0, ServerConfig())])
    assert ray.killed == [actor]


def test_each_says_what_it_does_also_when_it_is_away(two):
    made, actors = two
    actors[1].steps = 5
    until(lambda: made.looks[1].status.steps == 5)
    actors[1].state = "dead"
    until(lambda: len(made.looks) == 1)

    one, other = made.statuses

    assert (one.name, one.address, one.up) == ("0", "h0:1", True)
    assert (other.name, other.address, other.up) == ("1", "h1:1", False)
    assert (one.status.steps, other.status.steps) == (1, 5)


def test_counts_outlive_a_process(two):
    made, actors = two
    actors[1].steps = 5
    until(lambda: made.looks[1].status.steps == 5)
    actors[1].process, actors[1].state, actors[1].steps = 2, "new", 3
    until(lambda: made.looks[1:] and made.looks[1].status.steps == 3)

    other = made.statuses[1]

    assert other.restarts == 1
    assert (other.status.steps, other.status.memory_bytes) == (8, 7)


def test_nobody_waits_for_one_that_hangs_but_who_may_have_a_session_there(
    two, monkeypatch
):
    monkeypatch.setattr(replicas, "_PATIENCE_S", 60.0)
    monkeypatch.setattr(place, "_LATE_S", 1e9)
    monkeypatch.setattr(place, "_SILENT_S", 1e9)
    made, actors = two
    actors[1].state = "hung"
    found = []
    asking = threading.Thread(
        target=lambda: found.append(refused(made.find, "s"))
    )
    asking.start()

    actors[0].steps, actors[0].sessions = 9, ("t",)
    until(lambda: made.statuses[0].status.steps == 9)
    others = [made.choose(""), made.find("t")]

    assert asking.is_alive()
    assert others[1] == "h0:1"
    actors[1].state = "up"
    asking.join(10)
    assert found == ["session"]


def test_one_that_is_late_is_waited_for_by_nobody(two, monkeypatch):
    monkeypatch.setattr(replicas, "_PATIENCE_S", 1e9)
    monkeypatch.setattr(place, "_LATE_S", 0.5)
    made, actors = two
    actors[0].sessions = ("a", "b", "c")
    actors[1].state = "hung"
    until(lambda: made._places[1].late)

    assert refused(made.find, "s") == "busy"
    assert made.choose("") == "h0:1"  # though it has more sessions


def test_one_that_is_silent_is_down_until_it_answers(two, monkeypatch):
    monkeypatch.setattr(place, "_SILENT_S", 0.3)
    made, actors = two
    actors[1].sessions = ("s",)
    until(lambda: made.looks[1].sessions)
    actors[1].state = "hung"
    until(lambda: not made.statuses[1].up)

    while_silent = refused(made.find, "s")
    actors[1].state = "up"
    until(lambda: made.statuses[1].up)

    assert while_silent == "busy"
    assert made.find("s") == "h1:1"
    assert made.statuses[1].restarts == 0


@pytest.mark.parametrize("kept", [True, False])
def test_one_that_hangs_is_ended_where_another_process_can_go_on(
    two, monkeypatch, kept
):
    monkeypatch.setattr(place, "_SILENT_S", 0.1)
    made, actors = two
    if not kept:
        monkeypatch.setattr(
            made._places[1], "config", ReplicaConfig(1, ServerConfig())
        )
    actors[1].state = "hung"
    until(lambda: not made.statuses[1].up)
    early = actors[1].process
    monkeypatch.setattr(place, "_HUNG_S", 0.2)

    if kept:
        until(lambda: made.statuses[1].up)
    else:
        time.sleep(0.5)

    assert early == 1
    assert (actors[1].process, made.statuses[1].up) == (1 + kept, kept)
