import numpy as np

from keras_split.detection.agreement import AFTER
from keras_split.detection.agreement import BEFORE
from keras_split.detection.moments import Moments


def kinds(count, every=500, seed=0):
    moments = Moments(every, np.random.default_rng(seed))
    return [moments.next() for _ in range(count)]


def test_each_window_has_one_check_and_is_twice_as_long_as_the_one_before():
    drawn = kinds(8 + 16 + 32 + 40 + 40, every=40)

    ends = np.cumsum([0, 8, 16, 32, 40, 40])
    for begin, end in zip(ends, ends[1:], strict=False):
        assert len([kind for kind in drawn[begin:end] if kind]) == 1


def test_of_two_checks_one_is_of_each_kind():
    drawn = [kind for kind in kinds(5000) if kind]

    for pair in zip(drawn[::2], drawn[1::2], strict=False):
        assert sorted(pair) == [AFTER, BEFORE]


def test_another_seed_checks_other_steps():
    assert len({tuple(kinds(60, seed=seed)) for seed in range(20)}) > 15


def test_every_one_checks_each_step():
    assert all(kinds(50, every=1))


def test_soon_is_one_of_the_next_four_steps_after_it_was_taken():
    for seed in range(20):
        moments = Moments(500, np.random.default_rng(seed))
        for _ in range(3):
            moments.next()

        moments.soon()

        soon = [moments.next() for _ in range(4)]
        assert sorted(soon) == ["", "", "", AFTER]
