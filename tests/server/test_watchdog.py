import threading

import pytest

from keras_split.server.watchdog import Watch
from keras_split.server.watchdog import Watchdog


@pytest.fixture
def watchdog():
    watchdog = Watchdog(0.01)
    watchdog.start()
    yield watchdog
    watchdog.stop()


def test_a_call_that_takes_too_long_is_ended(watchdog):
    ended = threading.Event()

    with watchdog.watch(ended.set) as watch:
        watch.allow(0.02)

        assert ended.wait(20)


def test_a_call_is_ended_once():
    ends = []
    watch = Watch(lambda: ends.append(1))
    watch.until = 10.0

    for now in (9.0, 11.0, 12.0):
        watch.look(now)

    assert ends == [1]


def test_bytes_on_their_way_have_time_on_top():
    ends = []
    watch = Watch(lambda: ends.append(1))
    watch.allow(60, nbytes=10_000, since=100.0)

    watch.look(160.5)
    assert not ends
    watch.look(161.5)
    assert ends == [1]


def test_a_call_that_rests_is_left_alone():
    ends = []
    watch = Watch(lambda: ends.append(1))
    watch.allow(0)
    watch.rest()

    watch.look(1e12)

    assert not ends


def test_a_call_that_is_over_is_forgotten(watchdog):
    with watchdog.watch(lambda: None):
        assert len(watchdog._watches) == 1

    assert not watchdog._watches


def test_however_much_travels_ten_minutes_are_the_longest():
    watch = Watch(lambda: None)

    watch.allow(60, nbytes=1 << 29, since=100.0)
    assert watch.until == 700.0

    watch.allow(3600, nbytes=1 << 29, since=100.0)  # unless it is said
    assert watch.until == 3700.0


def test_a_call_that_is_allowed_no_more_is_ended_once():
    ends, allowed = [], [True]
    watch = Watch(lambda: ends.append(1), lambda: allowed[0])

    watch.look(1.0)
    allowed[0] = False
    watch.look(2.0)
    watch.look(3.0)

    assert ends == [1]
