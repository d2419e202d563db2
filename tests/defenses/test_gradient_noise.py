"""Noise as loud as the gradients of a batch."""

import numpy as np
import pytest
import tensorflow as tf

from keras_split.defenses import GradientNoise
from keras_split.defenses import Key
from keras_split.errors import DefenseError


def key(count=8, real=None):
    real = None if real is None else tf.constant(real)
    return Key("7", tf.constant(0), tf.range(float(count)), count=real)


@pytest.mark.parametrize("sigma", [0.5, 4.0])
def test_it_is_as_long_as_gradients_are_in_the_mean(sigma):
    x = np.random.default_rng(0).normal(size=(8, 4000)).astype("float32")
    x *= 2.0 ** -np.arange(8)[:, None]

    made = GradientNoise(sigma).apply(tf.constant(x), key(), "features_grad")

    length = np.linalg.norm(made - x, axis=1)
    mean = np.linalg.norm(x, axis=1).mean()
    np.testing.assert_allclose(length / mean, sigma, rtol=0.08)


def test_what_fills_a_batch_up_does_not_count():
    x = tf.concat([tf.ones((2, 3)), 1e6 * tf.ones((6, 3))], axis=0)

    made = GradientNoise(1.0).apply(x, key(real=2.0), "features_grad")

    assert np.abs(made[:2] - 1).max() < 10


def test_gradients_of_zeros_stay_zero():
    made = GradientNoise(1.0).apply(tf.zeros((8, 3)), key(), "features_grad")

    assert not made.numpy().any()


def test_what_is_not_finite_stays_visible():
    x = tf.constant([[1.0, np.nan], [1.0, 1.0]])

    made = GradientNoise(1.0).apply(x, key(2), "features_grad").numpy()

    assert not np.isfinite(made[0]).all()


@pytest.mark.parametrize("sigma", [-1, "much", None])
def test_a_sigma_that_is_none_is_refused(sigma):
    with pytest.raises(DefenseError, match="Expected a sigma from 0 to 1000"):
        GradientNoise(sigma)
