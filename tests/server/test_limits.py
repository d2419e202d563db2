import threading

import pytest

from keras_split.errors import RefusedError
from keras_split.server import limits
from keras_split.server.limits import Bucket
from keras_split.server.limits import Buckets
from keras_split.server.limits import Budget
from keras_split.server.limits import Places
from keras_split.server.limits import Share


def test_who_finds_no_place_is_told_so_at_once():
    places = Places(2)

    with places.take(), places.take():
        with pytest.raises(RefusedError) as info:
            with places.take():
                raise AssertionError("not reached")

    assert info.value.reason == "busy"
    assert str(info.value) == (
        "Expected fewer calls at a time. Received: one more than this server "
        "answers."
    )


def test_a_place_is_given_back_whatever_happens():
    places = Places(1)

    for _ in range(3):
        with pytest.raises(KeyError):
            with places.take():
                raise KeyError

    with places.take():
        pass


def test_what_is_taken_is_missing_for_others_until_it_is_freed():
    budget = Budget(100)
    one, other = Share(budget), Share(budget)

    assert one.take(60) and one.take(40)
    assert not other.take(1)
    one.free()
    assert other.take(100)


def test_what_was_refused_is_not_held():
    budget = Budget(100)
    one = Share(budget)

    assert not one.take(101)
    one.free()

    assert Share(budget).take(100)
    assert not Share(budget).take(1)


def test_threads_lose_no_byte():
    budget = Budget(1000)

    def work():
        share = Share(budget)
        for _ in range(500):
            share.take(7)
            share.take(3)
            share.free()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert Share(budget).take(1000)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def taken(bucket, tries):
    return sum(bucket.take() for _ in range(tries))


def test_a_burst_is_allowed_and_then_the_rate():
    clock = Clock()
    bucket = Bucket(5, 2, clock)

    at_once = taken(bucket, 10)
    clock.now += 1.5
    later = taken(bucket, 10)

    assert (at_once, later) == (5, 3)


def test_a_long_rest_earns_no_more_than_a_burst():
    clock = Clock()
    bucket = Bucket(5, 2, clock)

    clock.now += 1000

    assert taken(bucket, 10) == 5


def test_refused_tries_cost_nothing():
    clock = Clock()
    bucket = Bucket(1, 1, clock)
    taken(bucket, 100)

    clock.now += 1

    assert bucket.take()


def test_each_caller_has_a_bucket_of_its_own():
    buckets = Buckets(1, 0, Clock())

    assert [buckets.take(key) for key in "aabab"] == [1, 0, 1, 0, 0]


def test_callers_without_end_take_no_memory_without_end(monkeypatch):
    monkeypatch.setattr(limits, "_KEYS", 3)
    buckets = Buckets(1, 0, Clock())

    for caller in range(100):
        assert buckets.take(str(caller))

    assert len(buckets._buckets) == 3
    assert not buckets.take("99")


def test_less_than_one_a_second_is_one_every_few_seconds():
    clock = Clock()
    bucket = Bucket(0.5, 0.5, clock)

    assert [bucket.take(), bucket.take()] == [True, False]
    clock.now += 2
    assert [bucket.take(), bucket.take()] == [True, False]
    assert not Bucket(0, 0, clock).take()
