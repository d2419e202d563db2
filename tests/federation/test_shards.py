"""Which phone has which examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_split.errors import DataError
from keras_split.federation import shards

LABELS = np.repeat(np.arange(10), 60)


def each_once(made, count):
    taken = np.sort(np.concatenate(made))
    return np.array_equal(taken, np.arange(count))


def classes_of(shard):
    return len(np.unique(LABELS[shard]))


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 300),
    classes=st.integers(1, 12),
    phones=st.integers(1, 40),
    alpha=st.floats(1e-4, 1e3),
    least=st.integers(0, 4),
    seed=st.integers(0, 2**32),
)
def test_each_example_is_on_one_phone_and_no_phone_has_too_few(
    count, classes, phones, alpha, least, seed
):
    labels = np.random.default_rng(seed).integers(classes, size=count)
    if count < phones * max(least, 1):
        with pytest.raises(DataError, match="for each"):
            shards.dirichlet(labels, phones, alpha, seed=seed, least=least)
        return

    uneven = shards.dirichlet(labels, phones, alpha, seed=seed, least=least)
    even = shards.iid(count, phones, seed=seed)

    assert len(uneven) == len(even) == phones
    assert each_once(uneven, count) and each_once(even, count)
    assert min(map(len, uneven)) >= least
    assert max(map(len, even)) - min(map(len, even)) <= 1
    if count >= 2 * phones:
        pieces = shards.by_class(labels, phones, classes=2, seed=seed)
        assert len(pieces) == phones and each_once(pieces, count)


def test_a_seed_draws_the_same_again_and_another_one_something_else():
    for draw in (
        lambda seed: shards.iid(600, 10, seed=seed),
        lambda seed: shards.dirichlet(LABELS, 10, 0.3, seed=seed),
        lambda seed: shards.by_class(LABELS, 10, seed=seed),
    ):
        one, again, other = map(list, map(draw, (1, 1, 2)))

        assert all(map(np.array_equal, one, again))
        assert not all(map(np.array_equal, one, other))


def test_a_small_alpha_gives_phones_few_classes_and_a_large_one_all():
    few = shards.dirichlet(LABELS, 10, 0.05, seed=0)
    all_of_them = shards.dirichlet(LABELS, 10, 1000.0, seed=0)

    assert np.mean([classes_of(shard) for shard in few]) < 4
    assert min(classes_of(shard) for shard in all_of_them) == 10


def test_by_class_gives_each_phone_as_many_pieces_as_asked_for():
    made = shards.by_class(LABELS, 10, classes=2, seed=3)

    assert [len(shard) for shard in made] == [60] * 10
    assert max(classes_of(shard) for shard in made) == 2


def test_shards_are_made_of_pairs_of_any_structure():
    pairs = [({"a": np.full((n, 2), n)}, np.full(n, n)) for n in (1, 2, 3)]

    made = shards.Shards.get(pairs)
    x, y = made.rows(made.phones[2])

    assert made.examples == [1, 2, 3]
    np.testing.assert_array_equal(x["a"], np.full((3, 2), 3))
    np.testing.assert_array_equal(y, [3, 3, 3])


@pytest.mark.parametrize(
    ("phones", "said"),
    [
        ([[0], []], "1 have none"),
        ([], "0 phones"),
        ([[0, 1], [1]], "1 on several"),
        ([[0, 9]], "0 to 9"),
    ],
)
def test_what_no_phones_could_have_is_refused(phones, said):
    with pytest.raises(DataError, match=said):
        shards.Shards(
            np.zeros((3, 1)),
            np.zeros(3),
            [np.array(shard, int) for shard in phones],
        )


def test_as_many_labels_as_inputs_are_wanted_of_each_phone():
    # Two phones with as many of both together would have the wrong labels.
    pairs = [(np.zeros((2, 1)), np.zeros(3)), (np.zeros((2, 1)), np.zeros(1))]

    with pytest.raises(DataError, match="of phone 0. Received: 2 and 3"):
        shards.Shards.get(pairs)
    with pytest.raises(DataError, match="Received: 3 and 2"):
        shards.Shards(np.zeros((3, 1)), np.zeros(2), [np.arange(2)])


def test_labels_that_are_no_classes_are_refused():
    with pytest.raises(DataError, match="argmax"):
        shards.dirichlet(np.eye(3), 2, 0.1)
    with pytest.raises(DataError, match="alpha"):
        shards.dirichlet(LABELS, 2, 0.0)
    with pytest.raises(DataError, match=r"\(x, y\)"):
        shards.Shards.get(3)
