import math

import pytest

from keras_split.audit import defense_score
from keras_split.audit import overall_score
from keras_split.errors import DataError


def test_the_ideal_defense_has_1():
    assert defense_score(0.0, 0.9, 0.9) == 1.0
    # What is better than ideal is ideal.
    assert defense_score(-0.1, 0.95, 0.9) == 1.0
    assert defense_score(0.1, 0.9, 0.9, ideal_attack=0.1) == 1.0


def test_no_defense_against_a_perfect_attack_has_0_586():
    score = defense_score(1.0, 0.9, 0.9)

    assert score == pytest.approx(1 / (1 + math.sqrt(0.5)))
    # As bad: what hides all, and learns nothing.
    assert score == pytest.approx(defense_score(0.0, 0.0, 1.0))


def test_the_worst_has_a_half():
    assert defense_score(1.0, 0.0, 1.0) == 0.5


def test_its_weight_is_that_of_the_accuracy():
    assert defense_score(1.0, 0.5, 1.0, weight=1.0) == pytest.approx(1 / 1.5)
    assert defense_score(0.25, 0.5, 1.0, weight=0.0) == pytest.approx(0.8)


def test_kinds_of_attacks_count_alike_however_many_there_are():
    scores = {"labels": [0.6, 0.6, 0.6], "images": [0.9], "members": []}

    assert overall_score(scores) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((97.0, 0.9, 0.9), "attack=97.0.*by 100"),
        ((0.5, math.nan, 0.9), "accuracy=nan"),
        ((math.nan, 0.9, 0.9), "attack=nan"),
        ((0.5, 0.9, -1), "undefended=-1"),
    ],
)
def test_what_is_no_part_of_one_is_refused(given, says):
    with pytest.raises(DataError, match=says):
        defense_score(*given)


def test_no_score_is_refused():
    with pytest.raises(DataError, match="one attack at least"):
        overall_score({"labels": []})
