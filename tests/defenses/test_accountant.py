"""Epsilon: that of dp-accounting, or a refusal."""

import math

import dp_accounting
import pytest

import keras_split
from keras_split.defenses import Accountant
from keras_split.defenses import Clip
from keras_split.defenses import GaussianMechanism
from keras_split.defenses import GaussianNoise
from keras_split.defenses import GradientNoise
from keras_split.defenses import LaplaceMechanism
from keras_split.defenses import lattice
from keras_split.errors import DefenseError
from tests import nets

BOTH = ("smashed", "features_grad")


def client(*defenses, cut=("a", "b")):
    return keras_split.compile(nets.dense(), list(cut), defenses=defenses)[0]


def theirs(*events, delta=1e-5):
    accountant = dp_accounting.rdp.RdpAccountant()
    for event, count in events:
        accountant.compose(event, count)
    return accountant.get_epsilon(delta)


def multiplier(sigma, values):
    """Of the noise, for two examples of norm 1 that are rounded."""
    return 1 / (2 / sigma + math.sqrt(values) / lattice.STEPS)


def test_it_is_the_epsilon_of_dp_accounting():
    half = client(
        Clip(1.0), GaussianMechanism(0.7, 4.0), GaussianMechanism(2, 8.0, BOTH)
    )
    smashed = half.contract.smashed[0].shape[0]
    features = half.contract.features[0].shape[0]
    one = dp_accounting.GaussianDpEvent(multiplier(4.0, smashed))
    two = dp_accounting.GaussianDpEvent(multiplier(8.0, features))

    both = Accountant(half).epsilon(epochs=5)
    inputs = Accountant(half, "inputs").epsilon(epochs=5, delta=1e-6)
    labels = Accountant(half, "labels").epsilon(epochs=1)

    assert both == pytest.approx(theirs((one, 5), (two, 5)), rel=1e-4)
    assert inputs == pytest.approx(theirs((one, 5), delta=1e-6), rel=1e-4)
    assert labels == pytest.approx(theirs((two, 1)), rel=1e-4)
    assert inputs < both and labels < both


def test_laplace_noise_has_one_too():
    half = client(LaplaceMechanism(1.0, 10.0))
    event = dp_accounting.LaplaceDpEvent(5.0)

    found = Accountant(half, "inputs").epsilon(20)

    assert found == pytest.approx(theirs((event, 20)), rel=1e-4)


def test_what_is_never_sent_costs_nothing_and_all_rows_cost_more():
    accountant = Accountant(client(GaussianMechanism(1.0, 50.0, BOTH)))

    assert accountant.epsilon(0) == 0
    assert accountant.everything(2, 30) == accountant.epsilon(60)
    assert accountant.epsilon(3) < accountant.everything(3, 100)


def test_there_is_none_at_a_delta_below_what_is_drawn():
    accountant = Accountant(client(GaussianMechanism(1.0, 1.0, BOTH)))

    assert accountant.epsilon(3, delta=1e-20) == math.inf
    assert accountant.epsilon(10**8) == math.inf


@pytest.mark.parametrize(
    "defenses",
    [
        (),
        (GaussianNoise(1.0, BOTH),),
        (Clip(1.0, BOTH),),
        (GradientNoise(1.0),),
        (GaussianMechanism(1.0, 1.0),),
        (GradientNoise(1.0), GaussianMechanism(1.0, 1.0, BOTH)),
    ],
    ids=["nothing", "relative", "clip", "gradients", "one", "mixed"],
)
def test_what_has_no_epsilon_gets_none(defenses):
    with pytest.raises(DefenseError, match="a mechanism with an epsilon"):
        Accountant(client(*defenses))


def test_what_comes_behind_a_mechanism_costs_nothing():
    mechanism = GaussianMechanism(1.0, 1.0, BOTH)
    behind = (GradientNoise(1.0), GaussianNoise(0.1, BOTH))

    one = Accountant(client(mechanism)).epsilon(3)

    assert Accountant(client(mechanism, *behind)).epsilon(3) == one


def test_labels_that_are_sent_have_none():
    half = client(GaussianMechanism(1.0, 1.0), cut=("a",))

    assert Accountant(half, "inputs").epsilon(1) > 0
    for secret in ("labels", "examples"):
        with pytest.raises(DefenseError, match="cut twice"):
            Accountant(half, secret)


def test_evaluation_has_none():
    accountant = Accountant(client(GaussianMechanism(1.0, 1.0, BOTH)))

    with pytest.raises(DefenseError, match="same noise.*inferences=2"):
        accountant.epsilon(1, inferences=2)


@pytest.mark.parametrize("wrong", [{"epochs": -1}, {"delta": 0}, {"delta": 1}])
def test_what_is_no_number_of_it_is_refused(wrong):
    accountant = Accountant(client(GaussianMechanism(1.0, 1.0, BOTH)))

    with pytest.raises(DefenseError, match="Expected a"):
        accountant.epsilon(**({"epochs": 1} | wrong))


def test_an_unknown_secret_is_refused():
    with pytest.raises(DefenseError, match="inputs, labels, examples"):
        Accountant(client(), "weights")
