import numpy as np
import pytest

from keras_split.audit import Guess
from keras_split.audit import score_labels
from keras_split.audit.labels import named
from keras_split.errors import DataError

TRUTH = np.repeat(np.arange(10), 100)


def test_a_perfect_and_a_permuted_clustering_are_all_right():
    for names in (np.arange(10), np.random.default_rng(0).permutation(10) + 7):
        score = score_labels(Guess(clusters=names[TRUTH]), TRUTH)

        assert score.accuracy == score.balanced == 1.0
        assert score.best_naming and score.examples == 1000


def test_permuted_labels_are_all_wrong():
    score = score_labels(Guess(labels=(TRUTH + 1) % 10), TRUTH)

    assert score.accuracy == score.balanced == 0.0
    assert not score.best_naming


def test_a_clustering_of_noise_is_at_its_chance():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 10, len(TRUTH))

    score = score_labels(Guess(clusters=noise), TRUTH)

    # The best naming makes something of nothing, and chance says so.
    assert 0.1 < score.chance < 0.2
    assert abs(score.accuracy - score.chance) < 0.02


def test_labels_that_were_told_do_not_count():
    found = TRUTH.copy()
    told = [*range(0, 1000, 100)]
    found[np.setdiff1d(np.arange(1000), told)] = 99  # right where told alone

    score = score_labels(Guess(labels=found), TRUTH, told)

    assert score.accuracy == 0.0
    assert (score.examples, score.told) == (990, 10)


def test_a_rare_class_counts_as_much_as_another_in_the_balanced_part():
    truth = np.array([0] * 90 + [1] * 10)

    score = score_labels(Guess(labels=np.zeros(100, int)), truth)

    assert score.accuracy == score.chance == 0.9
    assert score.balanced == 0.5


def test_one_name_is_given_once_and_what_is_left_is_wrong():
    truth = np.array([0, 0, 0, 1])

    assert list(named(np.array([5, 6, 6, 7]), truth)) == [2, 0, 0, 1]
    assert list(named(np.array([3, 3, 3, 3]), truth)) == [0, 0, 0, 0]


def test_who_guesses_no_labels_has_no_score():
    assert score_labels(Guess(inputs=np.zeros((4, 2))), TRUTH) is None


@pytest.mark.parametrize(
    ("found", "told", "says"),
    [
        (TRUTH[:-1], (), "Expected guesses of the 1000 examples.*Received"),
        (TRUTH, range(1000), "Expected labels that.*not told.*all 1000"),
    ],
)
def test_what_cannot_be_scored_is_refused(found, told, says):
    with pytest.raises(DataError, match=says):
        score_labels(Guess(labels=found), TRUTH, told)
