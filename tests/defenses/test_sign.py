"""Signs of one length."""

import numpy as np
import tensorflow as tf

from keras_split.defenses import Key
from keras_split.defenses import Sign


def key(count, real=None):
    real = None if real is None else tf.constant(real)
    return Key("7", tf.constant(0), tf.range(float(count)), count=real)


def test_signs_are_kept_and_all_have_the_mean_length():
    x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    x *= 2.0 ** -np.arange(8, dtype="float32")[:, None]

    made = Sign().apply(tf.constant(x), key(8), "features_grad").numpy()

    np.testing.assert_array_equal(np.sign(made), np.sign(x))
    lengths = np.linalg.norm(made, axis=1)
    assert np.ptp(np.abs(made)) == 0
    np.testing.assert_allclose(
        lengths, np.linalg.norm(x, axis=1).mean(), rtol=0.03
    )


def test_what_fills_a_batch_up_does_not_count():
    x = tf.constant([[3.0, 4.0], [3.0, -4.0], [1e6, 1e6], [1e6, 1e6]])

    made = Sign().apply(x, key(4, real=2.0), "features_grad")

    np.testing.assert_allclose(np.abs(made[:2]), 5 / np.sqrt(2), rtol=0.03)


def test_zeros_stay_zero():
    x = tf.constant([[0.0, 2.0]])

    made = Sign().apply(x, key(1), "features_grad").numpy()

    assert made[0, 0] == 0 and made[0, 1] > 0
