from keras_split.server import rate
from keras_split.server.rate import Bucket
from keras_split.server.rate import Buckets


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
    monkeypatch.setattr(rate, "_KEYS", 3)
    buckets = Buckets(1, 0, Clock())

    for caller in range(100):
        assert buckets.take(str(caller))

    assert len(buckets._buckets) == 3
    assert not buckets.take("99")
