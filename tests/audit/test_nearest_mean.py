import numpy as np
import pytest

from keras_split import audit
from keras_split.errors import DataError
from keras_split.errors import OptionError
from tests.audit.seen import gradients_of
from tests.audit.seen import guess_of
from tests.audit.seen import steps_of
from tests.audit.seen import told_of

LABELS = np.random.default_rng(1).integers(0, 5, 400)


@pytest.mark.parametrize("of", ["smashed", "features", "features_grad"])
def test_labels_in_a_direction_are_read_with_a_few_known(of):
    seen = steps_of(gradients_of(LABELS, 5), of)
    told = told_of(LABELS, 10)

    guess = guess_of(audit.NearestMean(of, 10), seen, 5, told)

    assert audit.score_labels(guess, LABELS, told).accuracy == 1.0


def test_one_known_label_a_class_names_directions():
    rows = np.eye(5)[LABELS] + np.random.default_rng(0).normal(0, 0.1, (400, 5))
    told = told_of(LABELS, 1)

    guess = guess_of(audit.NearestMean(), steps_of(rows), 5, told)

    assert audit.score_labels(guess, LABELS, told).accuracy == 1.0


def test_noise_is_at_chance():
    noise = np.random.default_rng(0).normal(size=(400, 24))
    told = told_of(LABELS, 10)

    attack = audit.NearestMean(labels_per_class=10)
    guess = guess_of(attack, steps_of(noise), 5, told)
    score = audit.score_labels(guess, LABELS, told)

    assert abs(score.accuracy - 1 / 5) < 0.07
    # It remembers what it was told, which must not count.
    assert audit.score_labels(guess, LABELS).accuracy > score.accuracy


def test_labels_of_other_examples_are_refused():
    seen = steps_of(gradients_of(LABELS, 5))

    with pytest.raises(DataError, match="Received: none.*leak"):
        guess_of(audit.NearestMean(), seen, 5)
    with pytest.raises(DataError, match="the 400 examples.*example 400"):
        guess_of(audit.NearestMean(), seen, 5, {400: 1})


@pytest.mark.parametrize("count", [0, -1, 1.5, None])
def test_a_count_of_labels_that_is_none_is_refused(count):
    with pytest.raises(OptionError, match="labels_per_class.*Clustering"):
        audit.NearestMean(labels_per_class=count)


def test_its_name_tells_what_it_knows():
    assert audit.NearestMean().name == (
        "nearest mean of features gradients, 1 known label a class"
    )
    assert audit.NearestMean("smashed", 10).name == (
        "nearest mean of smashed data, 10 known labels a class"
    )
