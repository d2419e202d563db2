import threading
import weakref

import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import SnapshotTaken
from keras_split.server.cohorts.gathering import Gathering

WAIT_S = 30.0  # far more than anything here takes


def gathering(expected, deadline_s=WAIT_S, close=None):
    closed = []

    def tell(given):
        closed.append(dict(given))
        return {member: SnapshotTaken(f"to {member}") for member in given}

    made = Gathering(expected, deadline_s, close or tell, "a test")
    return made, closed


def test_all_are_told_when_the_last_one_has_given():
    made, closed = gathering({0, 1})

    first = made.give(0, "a")
    assert not first.done()
    second = made.give(1, "b")

    assert first.result(WAIT_S) == SnapshotTaken("to 0")
    assert second.result(WAIT_S) == SnapshotTaken("to 1")
    assert closed == [{0: "a", 1: "b"}]


def test_the_first_value_of_a_member_counts_and_its_reply_is_the_same():
    made, closed = gathering({0, 1})

    first = made.give(0, "a")
    assert made.give(0, "again") is first
    made.give(1, "b")

    assert closed == [{0: "a", 1: "b"}]


def test_nobody_waits_for_one_that_is_lost():
    made, closed = gathering({0, 1})
    first = made.give(0, "a")

    made.lose(1)

    assert first.result(WAIT_S) == SnapshotTaken("to 0")
    assert closed == [{0: "a"}]


def test_what_a_lost_one_gave_counts():
    made, closed = gathering({0, 1})
    made.give(0, "a")

    made.lose(0)
    made.give(1, "b")

    assert closed == [{0: "a", 1: "b"}]


def test_when_time_is_over_it_goes_on_and_refuses_who_is_late():
    made, closed = gathering({0, 1}, deadline_s=0.01)

    assert made.give(0, "a").result(WAIT_S) == SnapshotTaken("to 0")

    with pytest.raises(ProtocolError) as raised:
        made.give(1, "b")
    assert raised.value.reason == "late"
    assert closed == [{0: "a"}]


def test_time_runs_from_the_first_one_on():
    made, closed = gathering({0, 1}, deadline_s=0.01)

    assert not threading.Event().wait(0.1)

    assert not made.closed and not closed


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ProtocolError("No.", "norm"), "norm"), (ValueError("?"), "internal")],
)
def test_an_error_is_everybodys_refusal(error, reason):
    def close(given):
        raise error

    made, _ = gathering({0, 1}, close=close)

    replies = [made.give(0, "a"), made.give(1, "b")]

    for reply in replies:
        refusal = reply.result(WAIT_S)
        assert isinstance(refusal, Refusal) and refusal.reason == reason


def test_one_of_many_threads_closes_it_once():
    made, closed = gathering(range(16), close=None)
    results = []

    def give(member):
        results.append(made.give(member, member).result(WAIT_S))

    threads = [threading.Thread(target=give, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)

    assert len(closed) == 1 and len(results) == 16
    assert Done() not in results


def test_what_was_given_is_let_go_of_when_all_is_over():
    class Vector:
        pass

    made, closed = gathering({0, 1}, close=lambda given: {})
    value = Vector()
    gone = weakref.ref(value)
    made.give(0, value)
    made.give(1, Vector())

    del value

    assert gone() is None
