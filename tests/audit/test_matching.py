import keras
import numpy as np
import pytest

from keras_split import audit
from keras_split.audit.tail_fit import TailFit
from keras_split.errors import DataError

CLASSES, WIDTH, EXAMPLES = 4, 12, 600


class Cut:
    """As much of a contract as is looked at."""

    features = ("features",)


def tail_of(activation="softmax", units=CLASSES):
    features = keras.Input((WIDTH,))
    out = keras.layers.Dense(units, activation=activation, name="out")
    return keras.Model([features], [out(features)])


def trained(noise, seed=0):
    """Steps of a model that is sure of most examples, and their labels."""
    rng = np.random.default_rng(seed)
    weights = 0.3 * rng.normal(size=(WIDTH, CLASSES))
    labels = rng.integers(0, CLASSES, EXAMPLES)
    features = weights.T[labels] / 0.3 + rng.normal(size=(EXAMPLES, WIDTH))
    logits = features @ weights
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    sent = (p - np.eye(CLASSES)[labels]) @ weights.T / EXAMPLES
    loud = noise * np.linalg.norm(sent, axis=1).mean() / np.sqrt(WIDTH)
    sent += rng.normal(size=sent.shape) * loud
    nothing = np.zeros((EXAMPLES, 1), "float32")
    step = audit.Seen(
        0,
        [nothing],
        [features.astype("float32")],
        [sent.astype("float32")],
        [nothing],
        0.1,
    )
    return [step], labels


def found(attack, steps, tail, seconds=60.0, classes=CLASSES):
    scene = audit.Scene(Cut(), None, None, tail, None, classes)
    attack.begin(scene)
    for step in steps:
        attack.saw(step)
    attack.end(audit.Leaked(), seconds)
    return attack.guess(steps)


@pytest.mark.parametrize("activation", ["softmax", "linear"])
def test_it_reads_labels_that_noise_hides_from_clusters(activation):
    steps, labels = trained(noise=2.0)
    plain = {}
    for of in ("features_grad", "features"):
        clustering = audit.Clustering(of)
        clustering.begin(audit.Scene(Cut(), None, None, None, None, CLASSES))
        score = audit.score_labels(clustering.guess(steps), labels)
        plain[of] = score.accuracy

    guess = found(audit.Matching(100), steps, tail_of(activation))

    assert plain["features_grad"] < 0.8
    assert plain["features"] < 0.92
    assert audit.score_labels(guess, labels).accuracy > 0.95


def test_labels_that_nothing_tells_are_at_chance():
    steps, _ = trained(noise=100.0)
    labels = np.random.default_rng(5).integers(0, CLASSES, EXAMPLES)

    guess = found(audit.Matching(20), steps, tail_of())
    score = audit.score_labels(guess, labels)

    assert abs(score.accuracy - score.chance) < 0.05


def test_a_tail_that_is_sure_of_every_example_is_no_error():
    steps, labels = trained(noise=0.0)
    sure = steps[0].features[0]
    sure *= 1e3  # probabilities of 0 in float32

    guess = found(audit.Matching(20), steps, tail_of())

    assert audit.score_labels(guess, labels).accuracy > 0.5


def test_a_tail_of_one_number_tells_two_classes():
    steps, _ = trained(noise=0.0)

    guess = found(audit.Matching(2), steps, tail_of("sigmoid", 1), classes=2)

    assert set(np.unique(guess.clusters)) <= {0, 1}


@pytest.mark.slow
def test_trainings_one_after_another_warn_of_no_retracing(caplog):
    steps, _ = trained(noise=0.0)

    for _ in range(2):
        found(audit.Matching(1), steps, tail_of())

    assert "retracing" not in caplog.text


def test_what_compares_is_traced_once_whatever_the_size_of_a_batch():
    step = trained(noise=0.0)[0][0]
    (sent,) = step.features_grad
    fit = TailFit(tail_of(), step.features, sent, CLASSES)

    sizes = [
        fit.joint([part[:n] for part in step.features], sent[:n]).shape
        for n in (600, 256, 3)
    ]

    assert sizes == [(600, CLASSES), (256, CLASSES), (3, CLASSES)]
    assert fit._compare.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("units", [CLASSES + 1, 1])
def test_a_tail_that_tells_no_such_classes_apart_is_refused(units):
    steps, _ = trained(noise=0.0)

    with pytest.raises(
        DataError, match=rf"4 classes.*\({units},\).*Clustering"
    ):
        found(audit.Matching(1), steps, tail_of(units=units))


def test_a_tail_that_reads_more_than_features_is_refused():
    features, more = keras.Input((WIDTH,)), keras.Input((2,))
    joined = keras.layers.Concatenate()([features, more])
    out = keras.layers.Dense(CLASSES)(joined)
    steps, _ = trained(noise=0.0)

    with pytest.raises(DataError, match="2 inputs.*Clustering"):
        found(audit.Matching(1), steps, keras.Model([features, more], out))


def test_it_remembers_the_last_steps_alone_and_stops_in_time():
    attack = audit.Matching(10**6, memory=250)
    steps, labels = trained(noise=0.0)
    step = steps[0]
    short = [
        audit.Seen(
            number,
            *(
                [parts[0][begin : begin + 100]]
                for parts in (
                    *(step.smashed, step.features),
                    *(step.features_grad, step.smashed_grad),
                )
            ),
            0.1,
        )
        for number, begin in enumerate(range(0, EXAMPLES, 100))
    ]
    guess = found(attack, short, tail_of(), seconds=0.0)

    assert [seen.step for seen in attack._kept] == [3, 4, 5]
    assert guess.clusters.shape == labels.shape
    assert attack.spent().steps == 4  # one of each beginning
