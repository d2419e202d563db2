import time
from concurrent.futures import Future

import pytest

from keras_split.errors import ProtocolError
from keras_split.server import sessions as module
from keras_split.server.callbacks import Caller
from keras_split.server.sessions import Sessions

ANN, BEN = Caller("ann"), Caller("ben")


class Open:
    """What `Sessions` sees of a session."""

    def __init__(self, name, client="ann", next_step=0):
        self.name, self.client, self.next_step = name, client, next_step


@pytest.fixture
def ended():
    return []


@pytest.fixture
def sessions(ended):
    return Sessions(2, 100.0, lambda s, why: ended.append((s.name, why)))


def test_a_session_is_found_by_its_client_alone(sessions):
    session = Open("a")
    sessions.add(session)

    assert sessions.find("a", ANN) is session
    with pytest.raises(ProtocolError) as info:
        sessions.find("a", BEN)
    assert info.value.reason == "permission"
    with pytest.raises(ProtocolError) as info:
        sessions.find("b", ANN)
    assert info.value.reason == "session"
    assert "'b'" not in str(info.value)


def test_names_cannot_be_guessed():
    names = {Sessions.name() for _ in range(1000)}

    assert len(names) == 1000
    assert all(len(bytes.fromhex(name)) == 16 for name in names)


def test_clients_that_are_there_are_not_sent_away(sessions, ended):
    for name in "ab":
        sessions.add(Open(name))

    with pytest.raises(ProtocolError) as info:
        sessions.check_room()

    assert info.value.reason == "busy"
    assert not ended


def test_a_client_that_took_no_step_and_left_makes_room(sessions, ended):
    sessions.add(Open("a", next_step=3))
    sessions.add(Open("b"))
    for name in "ab":
        sessions.leave(name)

    sessions.check_room()

    assert ended == [("b", "room")]


def test_one_with_steps_keeps_its_place_for_a_while(
    sessions, ended, monkeypatch
):
    sessions.add(Open("a", next_step=3))
    sessions.add(Open("b", next_step=1))
    sessions.leave("b")
    with pytest.raises(ProtocolError):
        sessions.check_room()
    monkeypatch.setattr(module, "AWAY_S", 0.0)
    time.sleep(0.01)

    sessions.check_room()

    assert ended == [("b", "room")]


def test_a_session_is_left_when_its_last_stream_ends(sessions):
    session = Open("a")
    sessions.add(session)
    sessions.join("a", ANN)

    assert sessions.leave("a") is None
    assert sessions.leave("a") is session


def test_silent_sessions_end(ended):
    sessions = Sessions(2, 0.3, lambda s, why: ended.append((s.name, why)))
    sessions.add(Open("a"))
    time.sleep(0.4)
    sessions.add(Open("b"))

    sessions.sweep()

    assert ended == [("a", "idle")]
    assert [s.name for s in sessions] == ["b"]


def test_who_has_most_sessions_makes_room_first(ended):
    sessions = Sessions(3, 100.0, lambda s, why: ended.append((s.name, why)))
    for name, account in (("a", "ben"), ("b", "ann"), ("c", "ann")):
        sessions.add(Open(name, account), account=account)
        sessions.leave(name)

    sessions.check_room("ben")

    assert ended == [("b", "room")]


def test_nobody_makes_room_for_who_has_more_sessions(ended):
    sessions = Sessions(3, 100.0, lambda s, why: ended.append((s.name, why)))
    sessions.add(Open("a", "ben"), account="ben")
    sessions.leave("a")
    for name in "bc":
        sessions.add(Open(name), account="ann")

    with pytest.raises(ProtocolError) as info:
        sessions.check_room("ann")

    assert info.value.reason == "busy"
    assert not ended


def test_one_whose_message_is_arriving_is_not_silent(ended):
    sessions = Sessions(2, 0.2, lambda s, why: ended.append((s.name, why)))
    for name in ("slow", "gone"):
        sessions.add(Open(name))
    for _ in range(6):
        time.sleep(0.05)
        sessions.hear("slow")
        sessions.hear("unknown")

    sessions.sweep()

    assert ended == [("gone", "idle")]


def test_one_that_waits_for_a_reply_is_not_silent(ended):
    sessions = Sessions(2, 0.05, lambda s, why: ended.append((s.name, why)))
    for name in "ab":
        sessions.add(Open(name))
    sessions.leave("a")  # it calls without a stream
    reply = sessions.answered("a", Future)
    assert sessions.answered("b", lambda: "at once") == "at once"

    time.sleep(0.1)
    sessions.sweep()
    sessions.check_room()

    assert ended == [("b", "idle")]
    reply.set_result("late")
    sessions.sweep()
    assert ended == [("b", "idle")]  # it has its time from here on
    time.sleep(0.1)
    sessions.sweep()
    assert ended[1:] == [("a", "idle")]


def test_one_whose_message_is_refused_waits_for_nothing(ended):
    sessions = Sessions(2, 0.05, lambda s, why: ended.append((s.name, why)))
    sessions.add(Open("a"))

    with pytest.raises(ZeroDivisionError):
        sessions.answered("a", lambda: 1 / 0)
    time.sleep(0.1)
    sessions.sweep()

    assert ended == [("a", "idle")]
