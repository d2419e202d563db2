import numpy as np
import tensorflow as tf

from keras_split.training.gradients import add
from keras_split.training.gradients import dense

ROWS = tf.IndexedSlices(
    tf.constant([[1.0], [2.0], [4.0]]),
    tf.constant([0, 2, 0]),
    tf.constant([3, 1]),
)
FULL = tf.constant([[1.0], [1.0], [1.0]])


def test_none_is_a_gradient_that_does_not_flow():
    assert add(None, None) is None
    assert add(FULL, None) is FULL
    assert add(None, ROWS) is ROWS


def test_sparse_gradients_stay_sparse():
    made = add(ROWS, ROWS)

    assert isinstance(made, tf.IndexedSlices)
    np.testing.assert_array_equal(dense(made), [[10.0], [0.0], [4.0]])


def test_a_sparse_and_a_dense_gradient_are_one():
    for made in (add(ROWS, FULL), add(FULL, ROWS)):
        np.testing.assert_array_equal(made, [[6.0], [1.0], [3.0]])
