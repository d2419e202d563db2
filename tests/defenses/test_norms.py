"""Norms: bounds that hold, and that are the same everywhere."""

import numpy as np
import pytest
import tensorflow as tf

from keras_split.defenses import norms


def examples(values, count=200):
    """Rows of many kinds: dense, sparse, tiny, huge."""
    rng = np.random.default_rng(values)
    x = rng.normal(size=(count, values)) * 10 ** rng.uniform(-9, 9, (count, 1))
    x[::3] *= rng.random(x[::3].shape) < 0.05
    x[::7] = np.sign(x[::7])
    return x.astype("float32")


@pytest.mark.parametrize("values", [1, 5, 128, 12544])
@pytest.mark.parametrize("order", [1, 2])
def test_a_bound_is_not_below_the_norm_and_not_far_above(values, order):
    x = examples(values, 50)

    found = norms.bound(tf.constant(x), order).numpy().astype("float64")

    true = np.linalg.norm(x.astype("float64"), order, axis=1)
    apart = values if order == 1 else np.sqrt(values)
    slack = np.abs(x).max(axis=1) * apart * 2.0**-11
    assert (found >= true * (1 - 2.0**-24)).all()
    assert (found <= (true + slack) * (1 + 2.0**-6)).all()


def test_a_root_is_the_smallest_one_of_eight_bits():
    rng = np.random.default_rng(0)
    eight = np.arange(128, 256).astype("float32")
    x = np.concatenate([eight**2, eight**2 - 1, eight**2 + 1, 2 * eight**2])
    x = np.concatenate([x, 2 ** rng.uniform(0, 100, 5000)]).astype("float32")

    found = norms.root_up(tf.constant(x)).numpy().astype("float64")

    mantissa, exponent = np.frexp(found)
    assert (mantissa * 256 % 1 == 0).all()
    below = (mantissa * 256 - 1) / 256 * 2.0**exponent
    assert (found**2 >= x).all() and (below**2 < x).all()
    assert norms.root_up(tf.constant([0.0])).numpy().tolist() == [0]


def test_an_example_of_zeros_has_no_length_and_is_not_clipped():
    x = tf.zeros((2, 3, 4))

    assert norms.bound(x).numpy().tolist() == [0, 0]
    assert norms.factors(x, 1.0).numpy().ravel().tolist() == [1, 1]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("limit", [1e-3, 1.0, 50.0])
def test_what_is_clipped_is_as_long_as_allowed(order, limit):
    x = examples(128)

    made = norms.clipped(tf.constant(x), limit, order).numpy()

    before = np.linalg.norm(x.astype("float64"), order, axis=1)
    after = np.linalg.norm(made.astype("float64"), order, axis=1)
    assert (after <= limit * (1 + 1e-6)).all()
    assert (after >= np.minimum(before, limit) * 0.9).all()
    short = before < 0.9 * limit
    np.testing.assert_array_equal(made[short], x[short])


@pytest.mark.parametrize("order", [1, 2])
def test_the_gradient_of_a_clip_is_the_true_one(order):
    x = tf.constant(examples(6, 9)[:, None] * 1e-3 + 0.5)
    upstream = tf.constant(examples(6, 9)[::-1, None].copy())
    upstream /= tf.reduce_max(tf.abs(upstream), 2, keepdims=True)

    with tf.GradientTape() as tape:
        tape.watch(x)
        made = norms.clipped(x, 1.0, order)
    found = tape.gradient(made, x, output_gradients=upstream)

    with tf.GradientTape() as tape:
        tape.watch(x)
        norm = tf.norm(x, order, axis=2, keepdims=True)
        by = tf.stop_gradient(norms.factors(x, 1.0, order))
        expected = tf.where(by < 1, x * (by * tf.stop_gradient(norm)) / norm, x)
    expected = tape.gradient(expected, x, output_gradients=upstream)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_mean_is_of_the_real_ones():
    lengths = tf.constant([1.0, 3.0, 2.0, 1e6])

    assert norms.mean(lengths, tf.constant(3.0)).numpy() == pytest.approx(
        2, rel=1e-2
    )
    assert norms.mean(tf.zeros(4), tf.constant(4.0)).numpy() == 0
