import numpy as np
import pytest

from keras_split import audit
from tests.audit.seen import guess_of
from tests.audit.seen import steps_of
from tests.audit.seen import told_of

LABELS = np.random.default_rng(1).integers(0, 3, 300)


def rows(sizes):
    directions = np.random.default_rng(0).normal(size=(300, 8))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * sizes[:, None]


@pytest.mark.parametrize("classes", [2, 3])
def test_labels_in_the_norm_are_read_whatever_the_direction(classes):
    labels = LABELS % classes
    told = told_of(labels, 1)

    seen = steps_of(rows(100.0 ** -labels.astype(float)))
    guess = guess_of(audit.Norm(1), seen, classes, told)

    assert audit.score_labels(guess, labels, told).accuracy == 1.0


def test_gradients_of_one_norm_are_at_chance():
    told = told_of(LABELS, 10)

    guess = guess_of(audit.Norm(), steps_of(rows(np.ones(300))), 3, told)

    assert abs(audit.score_labels(guess, LABELS, told).accuracy - 1 / 3) < 0.09


def test_gradients_of_zero_are_no_error():
    told = told_of(LABELS, 2)
    sizes = np.where(LABELS == 0, 0.0, 1.0)

    guess = guess_of(audit.Norm(2), steps_of(rows(sizes)), 3, told)

    np.testing.assert_array_equal(guess.labels == 0, LABELS == 0)
