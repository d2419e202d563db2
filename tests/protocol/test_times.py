import math

import pytest

from keras_split.protocol.times import Times

BOUNDS = (0.1, 1.0, 10.0)
SOME = Times(BOUNDS, (6, 2, 1, 1), 31.2)


def test_what_never_happened_took_no_time_that_is_known():
    for times in (Times(), Times(BOUNDS, (0, 0, 0, 0))):
        assert times.count == 0
        assert times.mean_s is None and times.within_s(0.5) is None


def test_an_average_is_over_all():
    assert SOME.count == 10
    assert math.isclose(SOME.mean_s, 3.12)


@pytest.mark.parametrize(
    "share, seconds",
    [(0.3, 0.05), (0.6, 0.1), (0.7, 0.55), (0.8, 1.0), (0.9, 10), (1, 10)],
)
def test_a_share_is_done_within_what_its_bucket_says(share, seconds):
    assert math.isclose(SOME.within_s(share), seconds)


def test_those_since_then_are_the_others():
    before = Times(BOUNDS, (6, 1, 0, 0), 1.2)

    assert SOME.since(before) == Times(BOUNDS, (0, 1, 1, 1), 30.0)
    assert SOME.since(SOME).count == 0


@pytest.mark.parametrize(
    "before",
    [
        Times(),
        Times((0.2, 1.0, 10.0), (6, 1, 0, 0), 1.2),
        Times(BOUNDS, (7, 0, 0, 0), 0.1),
    ],
)
def test_counted_anew_all_are_since_then(before):
    assert SOME.since(before) == SOME
