import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split.evaluation import LOGITS
from keras_split.evaluation import PROBABILITY
from keras_split.evaluation import SCORE
from keras_split.evaluation import UNKNOWN
from keras_split.evaluation import by_class


def test_logits_become_probabilities_however_large_they_are():
    values, meaning = by_class(np.array([[1e4, 0.0], [-1e4, 1e4]]), LOGITS)

    assert meaning == PROBABILITY
    np.testing.assert_array_equal(values, [[1, 0], [0, 1]])


def test_one_number_tells_two_classes_apart():
    values, meaning = by_class(np.array([[0.0], [2.0]]), LOGITS)

    assert meaning == PROBABILITY
    np.testing.assert_allclose(values[:, 1], [0.5, 1 / (1 + np.exp(-2))])
    np.testing.assert_allclose(values.sum(1), 1)


def test_numbers_that_nobody_knows_are_looked_at():
    shares = np.array([[0.25, 0.75], [1.0, 0.0]])

    assert by_class(shares, UNKNOWN)[1] == PROBABILITY
    assert by_class(shares * 2, UNKNOWN)[1] == SCORE
    assert by_class(shares - 0.5, UNKNOWN)[1] == SCORE
    assert by_class(shares, SCORE)[1] == SCORE
    assert by_class(np.array([[0.25]]), UNKNOWN)[1] == SCORE


def test_probabilities_are_from_0_to_1():
    with pytest.raises(DataError, match="outputs from -2 to 3"):
        by_class(np.array([[3.0], [-2.0]]), PROBABILITY)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_output_that_is_no_number_is_refused_and_counted(wrong):
    with pytest.raises(DataError, match="1 of 2 images"):
        by_class(np.array([[0.1, 0.9], [wrong, 0.0]]), UNKNOWN)


def test_a_picture_is_not_a_number_a_class():
    with pytest.raises(DataError, match=r"shape \(2, 2, 3\)"):
        by_class(np.zeros((1, 2, 2, 3)))
