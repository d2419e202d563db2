import numpy as np
import pytest

from keras_split import audit
from keras_split.errors import DataError
from keras_split.errors import OptionError
from tests.audit.seen import gradients_of
from tests.audit.seen import guess_of
from tests.audit.seen import steps_of
from tests.audit.seen import told_of

LABELS = (np.random.default_rng(1).random(400) < 0.1).astype(int)


@pytest.mark.parametrize("positive", [0, 1])
def test_two_labels_are_read_with_an_example_of_one_of_them_known(positive):
    seen = steps_of(gradients_of(LABELS, 2))
    told = told_of(LABELS, 1)
    known = {p: label for p, label in told.items() if label == positive}

    guess = guess_of(audit.Direction(positive), seen, 2, known)

    assert audit.score_labels(guess, LABELS, known).accuracy == 1.0


def test_the_other_label_is_no_use_to_it():
    seen = steps_of(gradients_of(LABELS, 2))
    told = told_of(LABELS, 1)
    lie = {p: label for p, label in told.items() if label == 1} | {
        p: 0 for p in np.flatnonzero(LABELS)[:5].tolist() if p not in told
    }

    guess = guess_of(audit.Direction(), seen, 2, lie)

    assert audit.score_labels(guess, LABELS, lie).accuracy == 1.0


def test_noise_is_at_chance():
    noise = np.random.default_rng(0).normal(size=(400, 24))
    told = told_of(LABELS, 1)

    guess = guess_of(audit.Direction(), steps_of(noise), 2, told)

    assert abs(audit.score_labels(guess, LABELS, told).balanced - 0.5) < 0.1


def test_more_than_two_classes_are_refused():
    with pytest.raises(
        DataError, match="two classes.*Received: 3.*NearestMean"
    ):
        guess_of(audit.Direction(), [], 3)
    with pytest.raises(OptionError, match="0 or 1"):
        audit.Direction(positive=2)
