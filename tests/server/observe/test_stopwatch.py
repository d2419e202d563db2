import math

from keras_split.protocol.times import Times
from keras_split.server.observe.stopwatch import BOUNDS_S
from keras_split.server.observe.stopwatch import Stopwatch


def test_each_time_is_counted_at_the_first_bound_that_is_not_below():
    watch = Stopwatch()

    for seconds in (0.0, 0.001, 0.0011, 120.0, 121.0):
        watch.add(seconds)

    counts = watch.times.counts
    assert (counts[0], counts[1], counts[-2], counts[-1]) == (2, 1, 1, 1)
    assert sum(counts) == watch.times.count == 5
    assert math.isclose(watch.times.total_s, 241.0021)


def test_what_was_told_does_not_change_afterwards():
    watch = Stopwatch()
    before = watch.times

    watch.add(1.0)

    assert before == Times(BOUNDS_S, (0,) * (len(BOUNDS_S) + 1), 0.0)
