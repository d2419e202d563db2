import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split.evaluation import PROBABILITY
from keras_split.evaluation import SCORE
from keras_split.evaluation import Tally

LABELS = np.array([0, 1, 2, 2, 1])
OUTPUTS = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.7, 0.2, 0.1],
        [0.0, 0.5, 0.5],
        [0.1, 0.2, 0.7],
        [0.0, 1.0, 0.0],
    ]
)


def test_batches_add_up_to_what_all_images_are_at_once():
    parts, whole = Tally(3, PROBABILITY), Tally(3, PROBABILITY)

    parts.add(LABELS[:2], OUTPUTS[:2])
    parts.add(LABELS[2:], OUTPUTS[2:])
    whole.add(LABELS, OUTPUTS)

    np.testing.assert_array_equal(
        whole.confusion, [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    )
    np.testing.assert_array_equal(parts.confusion, whole.confusion)
    assert parts.metrics() == pytest.approx(whole.metrics())
    assert whole.images == 5


def test_the_crossentropy_is_that_of_the_right_class():
    tally = Tally(3, PROBABILITY)

    tally.add(LABELS, OUTPUTS)

    logs = np.log([0.8, 0.2, 0.5, 0.7, 1 - 1e-7])
    assert tally.metrics()["crossentropy"] == pytest.approx(-logs.mean())
    assert tally.metrics()["accuracy"] == 3 / 5


def test_of_scores_there_is_no_crossentropy():
    tally = Tally(3, SCORE)

    tally.add(LABELS, OUTPUTS)

    assert set(tally.metrics()) == {"accuracy"}
    assert Tally(3).metrics() == {}


@pytest.mark.parametrize(
    "labels, text",
    [
        ([0, 3], "from 0 to 2.*Received: 3"),
        ([0, -1], "from 0 to 2.*Received: -1"),
        ([0, 0.5], "a class number"),
        ([[0], [1]], "a class number"),
        ([0], r"for each of 1 images"),
    ],
)
def test_labels_that_are_none_are_refused_and_nothing_is_counted(labels, text):
    tally = Tally(3)

    with pytest.raises(DataError, match=text):
        tally.add(np.array(labels), OUTPUTS[:2])

    assert tally.images == 0
