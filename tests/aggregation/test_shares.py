import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_split.aggregation.shares import draw

LEFT = st.lists(st.integers(0, 50), min_size=1, max_size=12)


@given(LEFT, st.integers(1, 60), st.integers(0, 2**32), st.data())
def test_a_step_is_whole_and_nobody_gives_more_than_it_can(
    left, batch, seed, data
):
    capacity = data.draw(
        st.lists(st.integers(0, 20), min_size=len(left), max_size=len(left))
    )
    most = data.draw(st.none() | st.integers(1, 12))

    counts = draw(left, batch, np.random.default_rng(seed), capacity, most)

    room = [min(n, c or n) for n, c in zip(left, capacity, strict=True)]
    assert (counts >= 0).all() and (counts <= room).all()
    assert np.count_nonzero(counts) <= (most or len(left))
    if most is None:
        assert counts.sum() == min(batch, sum(room))


@given(LEFT, st.integers(1, 20), st.integers(0, 2**32))
def test_over_an_epoch_each_example_is_given_once(left, batch, seed):
    rng = np.random.default_rng(seed)
    rest, sums = np.array(left), []

    while rest.any():
        counts = draw(rest, batch, rng, phones_per_step=3)
        assert counts.any()
        rest = rest - counts
        sums.append(counts.sum())

    assert sum(sums) == sum(left)


@pytest.mark.parametrize("phones_per_step", [None, 1])
def test_shares_are_in_proportion_to_what_is_left(phones_per_step):
    left, batch = np.array([300, 100, 500, 0, 100]), 20
    rng = np.random.default_rng(0)

    draws = [
        draw(left, batch, rng, phones_per_step=phones_per_step)
        for _ in range(3000)
    ]

    expected = batch * left / left.sum()
    assert np.abs(np.mean(draws, axis=0) - expected).max() < 0.6


def test_the_same_seed_draws_the_same():
    one, two = (draw([9, 9, 9], 8, np.random.default_rng(5)) for _ in range(2))

    assert one.tolist() == two.tolist()


def test_more_examples_than_numpy_draws_from_are_in_proportion():
    counts = draw([3 * 10**10, 10**10, 5], 40, np.random.default_rng(0))

    assert counts.sum() == 40 and counts[0] > counts[1] > counts[2]
