import sys

import keras
import numpy as np
import pytest

import keras_split
from keras_split import audit
from keras_split import datasets
from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.errors import OptionError
from tests.audit.seen import gradients_of
from tests.audit.seen import guess_of
from tests.audit.seen import steps_of

LABELS = np.random.default_rng(1).integers(0, 5, 400)


def test_labels_in_the_direction_of_gradients_are_read_without_one_known():
    seen = steps_of(gradients_of(LABELS, 5))

    guess = guess_of(audit.Clustering(), seen, 5)

    assert audit.score_labels(guess, LABELS).accuracy == 1.0
    assert guess.labels is None  # it knows no names


def test_labels_in_the_sign_of_gradients_are_read_whatever_their_size():
    labels = LABELS % 2
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-30, 0, (400, 1))

    guess = guess_of(
        audit.Clustering(),
        steps_of(np.where(labels, 1, -1)[:, None] * sizes * np.ones(3)),
        2,
    )

    assert audit.score_labels(guess, labels).accuracy == 1.0


@pytest.mark.parametrize("of", ["smashed", "features", "features_grad"])
def test_noise_is_at_chance(of):
    noise = np.random.default_rng(0).normal(size=(400, 24))

    guess = guess_of(audit.Clustering(of), steps_of(noise, of), 5)
    score = audit.score_labels(guess, LABELS)

    assert abs(score.accuracy - score.chance) < 0.05


def test_it_reads_what_it_is_said_to_and_all_tensors_of_a_cut():
    rows = gradients_of(LABELS, 5)
    seen = steps_of(rows, "smashed")
    for step in seen:  # one column of noise beside it
        step.smashed.insert(0, np.zeros((len(step), 2, 2), "float32"))

    assert guess_of(audit.Clustering(), seen, 5).clusters.max() == 0
    guess = guess_of(audit.Clustering("smashed"), seen, 5)
    assert audit.score_labels(guess, LABELS).accuracy == 1.0


def test_fewer_different_rows_than_classes_are_no_error():
    rows = np.eye(3)[LABELS % 3]

    guess = guess_of(audit.Clustering(), steps_of(rows), 5)

    assert len(np.unique(guess.clusters)) == 3


def test_what_it_cannot_read_is_refused():
    with pytest.raises(OptionError, match="smashed, features, features_grad"):
        audit.Clustering("labels")
    rows = np.full((400, 4), np.nan)
    with pytest.raises(DataError, match="finite.*diverged.*learning rate"):
        guess_of(audit.Clustering(), steps_of(rows), 5)
    with pytest.raises(DataError, match="Received: none"):
        guess_of(audit.Clustering(), [], 5)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)

    with pytest.raises(BackendError, match="scikit-learn.*Run: pip install"):
        audit.Clustering()


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["float32", "int2"])
def test_it_reads_nearly_all_labels_of_a_u_shape(quantization):
    (x, y), _ = datasets.fashion_mnist.load_subset()
    x = datasets.to_model_input(x, (28, 28, 1), "tf")
    network = keras.Sequential([keras.Input((28, 28, 1))])
    for filters in (8, 16):
        network.add(keras.layers.Conv2D(filters, 3, activation="relu"))
        network.add(keras.layers.MaxPooling2D(name=f"pool{filters}"))
    network.add(keras.layers.Flatten())
    network.add(keras.layers.Dense(64, activation="relu", name="wide"))
    network.add(keras.layers.Dense(10, activation="softmax"))
    client, server = keras_split.compile(
        network, ["pool8", "wide"], quantization=quantization
    )
    client.compile("adam", "sparse_categorical_crossentropy")
    attack = audit.Clustering()
    scene = audit.scene_of(client, server, audit.Examples(x[:9], y[:9]), 10)

    watched = audit.watch(
        *(client, server, audit.Examples(x[:3200], y[:3200]), [attack], scene),
        epochs=2,
        batch_size=64,
        keep=1000,
    )

    for kept in (watched.first, watched.last):
        score = audit.score_labels(attack.guess(kept.seen), kept.truth.y)
        assert score.examples == 1024
        assert score.accuracy >= 0.99
        assert score.chance < 0.2
