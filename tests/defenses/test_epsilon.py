import dataclasses
import sys

import keras

import keras_split
from keras_split.defenses import Accountant
from keras_split.defenses import GaussianMechanism
from keras_split.defenses import GaussianNoise
from keras_split.defenses import RandomizedResponse
from keras_split.defenses.epsilon import Epsilon
from keras_split.defenses.epsilon import epsilons
from keras_split.defenses.epsilon import sentences
from tests import nets


def client(*defenses):
    return keras_split.compile(nets.dense(), ["a", "b"], defenses=defenses)[0]


def test_each_secret_has_that_of_the_accountant():
    half = client(GaussianMechanism(1.0, 8.0, ("smashed", "features_grad")))

    found = epsilons(half, 3)

    assert [one.secret for one in found] == ["inputs", "labels", "examples"]
    for one in found:
        assert one.value == Accountant(half, one.secret).epsilon(3, 1e-5)
        assert Epsilon.from_config(dataclasses.asdict(one)) == one
    (line,) = sentences(found)
    assert "after 3 epochs, at delta 1e-05" in line
    assert line.endswith(f"examples {found[2].value:.3g}")


def test_what_a_mechanism_does_not_cover_is_refused_beside_what_it_does():
    found = epsilons(client(GaussianMechanism(1.0, 8.0)), 1)

    first, second = sentences(found)
    assert "after 1 epoch," in first and "rows: inputs " in first
    assert second.startswith("Labels have no epsilon. Expected a mechanism")
    assert found[2].value is None


def test_noise_without_a_mechanism_has_none_and_says_so():
    found = epsilons(client(GaussianNoise(1.0, ("smashed",))), 1)

    assert [one.value for one in found] == [None] * 3
    assert "gaussian_noise" in sentences(found)[0]


def test_noise_that_is_too_small_has_no_finite_one():
    (one, *_) = epsilons(client(GaussianMechanism(1.0, 0.01)), 10**9)

    assert one.value is None and "too small" in one.refused


def test_no_defense_has_nothing_to_say():
    assert epsilons(client(), 3) == () and sentences(()) == []


def test_steps_that_are_skipped_have_none():
    half = client(GaussianMechanism(1.0, 8.0))
    half.compile(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
        "sparse_categorical_crossentropy",
    )

    found = epsilons(half, 1)

    assert {one.value for one in found} == {None}
    assert sentences(found) == [
        "Inputs and labels have no epsilon. " + found[0].refused
    ]


def test_without_dp_accounting_it_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)

    found = epsilons(client(GaussianMechanism(1.0, 8.0)), 1)

    assert "Run: pip install" in found[0].refused


def test_a_training_with_checks_has_none_of_inputs():
    half = client(GaussianMechanism(1.0, 8.0, ("smashed", "features_grad")))
    half.compile("sgd", "sparse_categorical_crossentropy")
    x, y = nets.vectors(8)
    half.fit(x, y, verbose=0, callbacks=[keras_split.HijackDetector()])

    inputs, labels, both = epsilons(half, 1)

    assert inputs.value is None and both.value is None
    assert "HijackDetector" in inputs.refused and labels.value


def test_labels_that_are_drawn_in_each_epoch_count_as_often():
    half = client(RandomizedResponse(2.0))

    (_, once, _), (_, often, _) = (
        epsilons(half, 3, augmented=augmented) for augmented in (False, True)
    )

    assert (once.value, often.value) == (2.0, 6.0)
