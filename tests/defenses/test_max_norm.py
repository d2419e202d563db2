"""Gradients that are as long as the longest, in the mean."""

import numpy as np
import tensorflow as tf

from keras_split.defenses import Chain
from keras_split.defenses import Key
from keras_split.defenses import MaxNorm
from keras_split.defenses.chain import Moment


def key(count=8, step=0, real=None):
    real = None if real is None else tf.constant(real)
    step = tf.convert_to_tensor(step)
    return Key("7", step, tf.range(float(count)), count=real)


def gradients():
    x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    return x * 2.0 ** -np.arange(8, dtype="float32")[:, None]


def defended(x, steps):
    @tf.function
    def apply(step):
        return MaxNorm().apply(tf.constant(x), key(step=step), "")

    return np.stack([apply(tf.constant(step)) for step in range(steps)])


def test_all_have_the_longest_length_in_the_mean_of_squares():
    x = gradients()

    made = defended(x, 400)

    longest = np.linalg.norm(x, axis=1).max()
    squares = np.square(made).sum(axis=-1).mean(axis=0)
    np.testing.assert_allclose(np.sqrt(squares) / longest, 1, rtol=0.15)
    # Of the longest itself nothing is changed but by how norms are rounded.
    np.testing.assert_allclose(made[:, 0], np.tile(x[0], (400, 1)), rtol=0.2)


def test_each_stays_on_its_line_and_is_right_in_the_mean():
    x = gradients()

    made = defended(x, 400)

    factors = (made / x).mean(axis=-1)
    np.testing.assert_allclose(made, x * factors[..., None], rtol=1e-4)
    spread = np.linalg.norm(x, axis=1).max() / np.linalg.norm(x, axis=1)
    np.testing.assert_array_less(np.abs(factors.mean(0) - 1), 0.2 * spread)
    assert (factors[:, 1:] < 0).any(axis=0).all()


def test_what_fills_a_batch_up_does_not_count():
    x = tf.constant([[1.0, 2.0], [2.0, 1.0], [1e6, 1e6], [1e6, 1e6]])

    made = MaxNorm().apply(x, key(4, real=2.0), "features_grad")

    np.testing.assert_allclose(made, x, rtol=0.5)


def test_gradients_of_zeros_stay_zero():
    x = tf.constant([[0.0, 0.0], [1.0, -1.0]])

    made = MaxNorm().apply(x, key(2), "features_grad").numpy()

    np.testing.assert_array_equal(made, x)


def test_what_is_not_finite_stays_visible():
    x = tf.constant([[1.0, np.nan], [1.0, 1.0]])

    made = MaxNorm().apply(x, key(2), "features_grad").numpy()

    assert not np.isfinite(made[0]).all()


def test_it_comes_back_from_its_config():
    chain = Chain(["max_norm", "sign"], seed=7)

    again = Chain.get(chain.get_config())

    x = tf.constant(gradients())
    one, other = (
        c.apply(x, "features_grad", 0, Moment(3)) for c in (chain, again)
    )
    np.testing.assert_array_equal(one, other)
