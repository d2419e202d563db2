import pytest

from keras_split.audit.turns import Turns


def granted(seconds, takes):
    """What each has, of those that take so long or a part of what they have."""
    turns, found = Turns(seconds, len(takes)), []
    for take in takes:
        found.append(turns.next())
        turns.took(take(found[-1]) if callable(take) else take)
    return found


def all_of_it(seconds):
    return seconds


def test_those_that_take_what_they_have_have_the_same():
    assert granted(12.0, [all_of_it] * 4) == [3.0] * 4


def test_what_one_leaves_those_behind_it_share():
    assert granted(12.0, [0.0, all_of_it, all_of_it, all_of_it]) == [
        3.0,
        *[4.0] * 3,
    ]


@pytest.mark.parametrize("first", [3.1, 12.0, 1000.0])
def test_who_takes_longer_takes_it_of_nobody_that_comes_later(first):
    assert granted(12.0, [first, all_of_it, all_of_it, all_of_it]) == [3.0] * 4


def test_who_takes_longer_takes_it_of_what_was_left_before():
    found = granted(12.0, [0.0, 6.0, all_of_it, all_of_it])

    assert found == [3.0, 4.0, 3.0, 3.0]


def test_all_of_it_is_taken_if_the_last_ones_can():
    takes = [0.5, 0.25, all_of_it, 1.0, all_of_it]
    found = granted(10.0, takes)

    spent = [
        take(has) if callable(take) else take
        for take, has in zip(takes, found, strict=True)
    ]
    assert sum(spent) == pytest.approx(10.0)


def test_a_lone_one_has_all_and_none_is_no_error():
    assert Turns(5.0, 1).next() == 5.0
    assert Turns(5.0, 0).next() == 5.0
