"""Clipping of examples, and of gradients of means."""

import numpy as np
import pytest
import tensorflow as tf

from keras_split.defenses import Clip
from keras_split.defenses import Key
from keras_split.errors import DefenseError

X = np.random.default_rng(0).normal(size=(4, 2, 8)).astype("float32")


def key(size=None):
    return Key("7", tf.constant(0), tf.range(4.0), size=size)


def lengths(made):
    return np.linalg.norm(np.reshape(made, (4, -1)), axis=1)


def test_smashed_data_are_as_long_as_the_limit_allows():
    made = Clip(0.5).apply(tf.constant(X), key(), "smashed")

    assert (lengths(made) <= 0.5).all() and (lengths(made) > 0.47).all()


def test_a_gradient_is_clipped_as_that_of_its_own_loss():
    defense = Clip(0.5, "features_grad")

    of_four = defense.apply(tf.constant(X), key(), "features_grad")
    of_ten = defense.apply(
        tf.constant(X), key(tf.constant(10.0)), "features_grad"
    )

    assert (lengths(of_four) * 4 <= 0.5).all()
    assert (lengths(of_ten) * 10 <= 0.5).all()
    assert (lengths(of_ten) * 10 > 0.47).all()


def test_what_is_not_finite_stays_visible():
    x = X.copy()
    x[0, 0, 0], x[1, 1, 1] = np.nan, np.inf

    made = Clip(0.5).apply(tf.constant(x), key(), "smashed").numpy()

    finite = np.isfinite(made).all(axis=(1, 2))
    assert finite.tolist() == [False, False, True, True]


@pytest.mark.parametrize("limit", [0, -1, float("nan"), "much", None, True])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(DefenseError, match="Expected a limit from 1e-06"):
        Clip(limit)


def test_another_order_is_refused():
    with pytest.raises(DefenseError, match="order of 1 or 2"):
        Clip(1, order=3)
