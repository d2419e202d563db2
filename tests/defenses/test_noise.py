"""Gaussian noise relative to each example."""

import numpy as np
import pytest
import tensorflow as tf

from keras_split.defenses import GaussianNoise
from keras_split.defenses import Key
from keras_split.errors import DefenseError


def key(count):
    return Key("7", tf.constant(0), tf.range(float(count)))


def test_it_is_as_large_as_each_example_asks_for():
    x = np.random.default_rng(0).uniform(-1, 1, (2, 4000)).astype("float32")
    x[1] *= 1000

    made = GaussianNoise(0.25).apply(tf.constant(x), key(2), "smashed")

    spread = (made.numpy() - x).std(axis=1) / np.abs(x).max(axis=1)
    np.testing.assert_allclose(spread, 0.25, rtol=0.05)


def test_an_example_of_zeros_stays_zero():
    x = tf.zeros((1, 4))

    made = GaussianNoise(0.25).apply(x, key(1), "smashed")

    assert made.numpy().tobytes() == x.numpy().tobytes()


def test_gradients_pass_it_as_they_are():
    x = tf.constant([[1.0, -2.0, 3.0]])
    upstream = tf.constant([[0.1, 0.2, 0.3]])

    with tf.GradientTape() as tape:
        tape.watch(x)
        made = GaussianNoise(0.5).apply(x, key(1), "smashed")
    grad = tape.gradient(made, x, output_gradients=upstream)

    np.testing.assert_array_equal(grad, upstream)


def test_what_is_not_finite_stays_visible():
    x = tf.constant([[1.0, np.nan], [1.0, np.inf]])

    made = GaussianNoise(0.5).apply(x, key(2), "smashed").numpy()

    assert not np.isfinite(made).all(axis=1).any()


@pytest.mark.parametrize("stddev", [-0.1, float("nan"), "much", 1e9, None])
def test_a_stddev_that_is_none_is_refused(stddev):
    with pytest.raises(DefenseError, match="Expected a stddev"):
        GaussianNoise(stddev)


@pytest.mark.parametrize("where", ["features", (), ("smashed", "x")])
def test_what_the_phone_does_not_send_is_refused(where):
    with pytest.raises(DefenseError, match="smashed, features_grad"):
        GaussianNoise(0.1, where)
