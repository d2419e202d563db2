"""The Gaussian and the Laplace mechanism: what they add, and to what."""

import numpy as np
import pytest
import tensorflow as tf

from keras_split.defenses import GaussianMechanism
from keras_split.defenses import Key
from keras_split.defenses import LaplaceMechanism
from keras_split.defenses import lattice
from keras_split.errors import DefenseError

X = np.random.default_rng(0).normal(size=(8, 3000)).astype("float32")
LENGTH = np.linalg.norm(X, axis=1).mean()
MAGNITUDE = np.abs(X).sum(axis=1).mean()


def key(size=None):
    return Key("7", tf.constant(0), tf.range(8.0), size=size)


def made(defense, x=X, where="smashed", size=None):
    return defense.apply(tf.constant(x), key(size), where).numpy()


@pytest.mark.parametrize("sigma", [0.01, 1.0, 100.0])
def test_gaussian_noise_is_sigma_times_the_limit(sigma):
    noise = made(GaussianMechanism(2 * LENGTH, sigma)) - X

    spread = noise.std() / (sigma * 2 * LENGTH)
    assert spread == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_laplace_noise_is_scale_times_the_limit(scale):
    noise = made(LaplaceMechanism(2 * MAGNITUDE, scale)) - X

    spread = np.abs(noise).mean() / (scale * 2 * MAGNITUDE)
    assert spread == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("size", [8.0, 100.0])
def test_a_gradient_gets_noise_for_the_mean_it_is_part_of(size):
    defense = GaussianMechanism(1.0, 0.5, "features_grad")

    noise = made(defense, 0 * X, "features_grad", tf.constant(size))

    assert noise.std() * size == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    ("defense", "draw", "steps"),
    [
        (GaussianMechanism(1.0, 0.3), lattice.gaussian, lattice.STEPS / 0.3),
        (LaplaceMechanism(1.0, 0.3), lattice.laplace, lattice.SCALE / 0.3),
    ],
    ids=["gaussian", "laplace"],
)
def test_no_example_moves_what_is_sent_further_than_is_counted(
    defense, draw, steps
):
    order = 2 if draw is lattice.gaussian else 1
    x = X.copy()
    x[:2], x[2] = 1e6 * X[:2], 0
    x[3, 1:] = 0
    noise = draw(key(), (3000,)).numpy().astype("float64")
    zeros = made(defense, 0 * X).astype("float64")
    unit = np.median(zeros[noise != 0] / noise[noise != 0])

    whole = np.rint(made(defense, x) / unit) - noise

    rounding = np.sqrt(3000) / 2 if order == 2 else 0
    moved = np.linalg.norm(whole, order, axis=1)
    assert (moved <= steps * (1 + 2.0**-20) + rounding).all()
    assert moved[:2].min() > 0.9 * steps


def test_gradients_are_those_of_the_clip_and_pass_the_noise():
    x = tf.constant(X[:, :4])
    upstream = tf.ones_like(x)
    far, near = GaussianMechanism(1e3, 1.0), GaussianMechanism(1e-3, 1.0)

    grads = []
    for defense in (far, near):
        with tf.GradientTape() as tape:
            tape.watch(x)
            sent = defense.apply(x, key(), "smashed")
        grads.append(tape.gradient(sent, x, output_gradients=upstream))

    np.testing.assert_array_equal(grads[0], upstream)
    along = tf.reduce_sum(grads[1] * x, 1)
    np.testing.assert_allclose(along, tf.zeros(8), atol=1e-5)


def test_what_is_not_finite_stays_visible():
    x = X.copy()
    x[0, 0] = np.nan

    for defense in (GaussianMechanism(1, 1), LaplaceMechanism(1, 1)):
        assert not np.isfinite(made(defense, x)[0]).all()


@pytest.mark.parametrize("value", [0, 1e-3, float("nan"), "much", None])
def test_noise_that_is_none_is_refused(value):
    with pytest.raises(DefenseError, match="Expected a sigma from 0.01"):
        GaussianMechanism(1.0, value)
    with pytest.raises(DefenseError, match="Expected a scale from 0.01"):
        LaplaceMechanism(1.0, value)
