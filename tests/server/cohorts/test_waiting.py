import weakref

from keras_split.protocol.cohort_messages import Later
from keras_split.protocol.messages import Done
from keras_split.server.cohorts.waiting import WaitingRoom

WAIT_S = 30.0


def test_who_waits_is_told():
    room = WaitingRoom()
    future = room.wait(3)

    assert 3 in room and room.tell(3, Done())

    assert future.result(WAIT_S) == Done()
    assert 3 not in room and not room.tell(3, Done())


def test_who_waits_too_long_asks_again():
    room = WaitingRoom(later_s=0.01)

    assert room.wait(3).result(WAIT_S) == Later()
    assert 3 not in room


def test_a_second_call_takes_the_place_of_the_first():
    room = WaitingRoom()

    first, second = room.wait(3), room.wait(3)
    room.tell_all(lambda member: Done())

    assert first.result(WAIT_S) == Later()
    assert second.result(WAIT_S) == Done()


def test_who_was_told_costs_nothing_any_more():
    room = WaitingRoom()
    kept = weakref.ref(future := room.wait(3))

    room.tell(3, Done())
    del future

    assert kept() is None  # the alarm would keep it for a while
