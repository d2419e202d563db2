import itertools
import random

import pytest

from keras_split.planner.closed_sets import bits
from keras_split.planner.closed_sets import closed_sets
from keras_split.planner.closed_sets import needs


def random_parents(seed, count):
    rng = random.Random(seed)
    parents = [0]
    for number in range(1, count):
        others = rng.sample(range(number), min(number, rng.choice((1, 1, 2))))
        parents.append(sum(1 << other for other in others))
    return parents


def is_closed(calls, parents):
    return all(not parents[number] & ~calls for number in bits(calls))


@pytest.mark.parametrize("seed", range(20))
def test_a_small_graph_has_all_its_closed_sets(seed):
    parents = random_parents(seed, 8)

    found = closed_sets(parents, limit=1000)

    assert sorted(found) == [
        calls for calls in range(1, 1 << 8) if is_closed(calls, parents)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_a_graph_with_too_many_has_those_that_end_in_one_call(seed):
    parents = random_parents(seed, 40)

    found = closed_sets(parents, limit=4)

    assert set(needs(parents)) <= set(found)
    assert (1 << 40) - 1 in found
    assert all(is_closed(calls, parents) for calls in found)


def test_a_chain_is_closed_once_for_each_call():
    parents = [0, *(1 << number for number in range(699))]

    found = closed_sets(parents)

    assert found == [(1 << count) - 1 for count in range(1, 701)]


def test_blocks_between_waists_are_looked_at_one_by_one():
    parents = [0]  # a ladder: one call, two beside each other, one, ...
    for _ in range(100):
        last = len(parents) - 1
        parents += [1 << last, 1 << last, 0b11 << last + 1]

    found = closed_sets(parents, limit=4)

    assert len(found) == 1 + 100 * 4


def test_a_set_has_its_members():
    assert list(bits(0b10110)) == list(itertools.chain([1, 2], [4]))
