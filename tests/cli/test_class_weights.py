import click
import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split_cli import class_weights

LABELS = np.array([0, 0, 0, 2])


def sample_weights(text, labels, names):
    weights = class_weights.ClassWeightsType()(text)
    return class_weights.sample_weights(weights, labels, names)


def test_balanced_classes_count_the_same_and_an_image_1_on_average():
    weights = sample_weights("balanced", LABELS, ("a", "b", "c"))

    assert weights[:3].sum() == weights[3:].sum()
    assert weights.mean() == 1
    assert weights.dtype == np.float32


@pytest.mark.parametrize("text", ["a=2,c=5", "0=2,2=5", "a=2, 2=5"])
def test_classes_are_called_by_name_or_by_number(text):
    weights = sample_weights(text, LABELS, ("a", "b", "c"))

    assert weights.tolist() == [2, 2, 2, 5]


def test_a_name_that_looks_like_a_number_is_a_name():
    weights = sample_weights("2=7", LABELS, ("2", "1", "0"))

    assert weights.tolist() == [7, 7, 7, 1]


def test_one_hot_rows_are_classes_too():
    rows = np.eye(3)[LABELS]

    assert sample_weights("2=3", rows, ()).tolist() == [1, 1, 1, 3]


def test_a_class_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(DataError, match="'cats'. The nearest is 'cat'"):
        sample_weights("cats=2", LABELS, ("cat", "dog", "emu"))


@pytest.mark.parametrize("text", ["a", "a=-1", "balance"])
def test_a_weight_that_is_none_is_a_wrong_call(text):
    with pytest.raises(click.BadParameter, match="Expected balanced, or"):
        sample_weights(text, LABELS, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a=0,c=0", LABELS),
        ("balanced", np.array([0.5, 1.0])),
        ("balanced", np.array([-1, 1])),
        ("balanced", np.zeros((2, 4, 4))),
    ],
)
def test_weights_that_mean_nothing_are_refused(text, labels):
    with pytest.raises(DataError, match="Expected "):
        sample_weights(text, labels, ("a", "b", "c"))
