import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_split.errors import ProtocolError
from keras_split.training.commit import commit
from keras_split.training.graph_checks import finite_gradients

MAKES = {
    "rate": lambda: keras.optimizers.SGD(1e38),
    "decay": lambda: keras.optimizers.SGD(1e10, weight_decay=1e38),
    "slot": lambda: keras.optimizers.Adam(0.1),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(1e38)
    ),
    "accumulated": lambda: keras.optimizers.SGD(
        0.1, gradient_accumulation_steps=2
    ),
}


def taken(optimizer, gradient, weight, state):
    """A step in a graph."""
    optimizer.build([weight])
    pairs = [(tf.constant(gradient), weight)]
    after = [(state, tf.constant(5.0))]
    run = tf.function(lambda: commit(optimizer, pairs, after, [weight]))
    with finite_gradients():
        run()


@pytest.mark.parametrize("name", MAKES)
def test_a_step_whose_result_is_not_finite_leaves_no_trace(name):
    optimizer = MAKES[name]()
    weight = keras.Variable(np.full((2,), 3.0, "float32"))
    state = keras.Variable(1.0)
    large = np.array([3e38 if name == "accumulated" else 1e25, 0], "float32")
    optimizer.build([weight])
    if name == "accumulated":
        optimizer.variables[-1].assign([3e38, 0])
    changing = [weight, state, *optimizer.variables]
    before = [np.array(v.value) for v in changing]

    with pytest.raises(ProtocolError, match="gradients, weights and") as info:
        taken(optimizer, large, weight, state)

    assert info.value.reason == "not-finite"
    for variable, value in zip(changing, before, strict=True):
        np.testing.assert_array_equal(np.array(variable.value), value)


def test_a_loss_scale_skips_a_step_by_itself_and_halves():
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5))
    weight, state = keras.Variable([3.0]), keras.Variable(1.0)

    taken(optimizer, np.array([np.inf], "float32"), weight, state)

    assert np.array(weight.value) == [3.0]
    assert float(optimizer.dynamic_scale) == optimizer.initial_scale / 2


def test_rows_of_a_table_are_put_back_too():
    table = keras.Variable(np.ones((3, 2), "float32"))
    rows = tf.IndexedSlices(tf.fill((1, 2), 1e25), tf.constant([1]), (3, 2))
    optimizer = keras.optimizers.SGD(1e20)
    optimizer.build([table])
    run = tf.function(lambda: commit(optimizer, [(rows, table)], [], [table]))

    with pytest.raises(ProtocolError), finite_gradients():
        run()

    np.testing.assert_array_equal(np.array(table.value), np.ones((3, 2)))


def test_without_gradients_the_state_moves():
    state, optimizer = keras.Variable(1.0), keras.optimizers.SGD()
    after = [(state, tf.constant(5.0))]

    tf.function(lambda: commit(optimizer, [], after, []))()

    assert float(state) == 5
