import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.litert.lowering.gradients import assert_runs_in_litert
from tests.litert.lowering.gradients import assert_same_gradients

SHAPE = (2, 3, 4)
ROWS = {
    "Elu": (tf.nn.elu, SHAPE),
    "Inv": (lambda x: tf.raw_ops.Inv(x=x), SHAPE),
    "LeakyRelu": (tf.nn.leaky_relu, SHAPE),
    "Mul": (lambda x, y: x * y, SHAPE, (3, 1)),
    "Reciprocal": (tf.math.reciprocal, SHAPE),
    "Relu": (tf.nn.relu, SHAPE),
    "Relu6": (lambda x: tf.nn.relu6(4.0 * x), SHAPE),
    "Rsqrt": (lambda x: tf.math.rsqrt(tf.abs(x) + 0.1), SHAPE),
    "Sqrt": (lambda x: tf.sqrt(tf.abs(x) + 0.1), SHAPE),
    "Selu": (tf.nn.selu, SHAPE),
    "Softsign": (tf.nn.softsign, SHAPE),
}
# `Inv` is Reciprocal's old name; LiteRT has the new one only.
CONVERTIBLE = sorted(set(ROWS) - {"Inv"})
KERAS = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "squareplus",
    "tanh",
    "tanh_shrink",
    "threshold",
]


def activation(name):
    function = getattr(keras.activations, name)
    return lambda x: function(x, **({} if name != "threshold" else PARAMS))


PARAMS = {"threshold": 0.1, "default_value": 0.2}


@pytest.mark.parametrize("row", ROWS)
def test_rows_have_their_stock_gradients(row):
    assert_same_gradients(*ROWS[row])


@pytest.mark.parametrize("name", KERAS)
def test_keras_activations_have_their_stock_gradients(name):
    assert_same_gradients(activation(name), (2, 3, 8))


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_around_zero(approximate):
    x = np.array([-9.0, -1.0, -1e-7, -1e-40, 0.0, 1e-12, 1e-5, 0.5, 9.0])

    assert_same_gradients(
        lambda x: keras.activations.gelu(x, approximate=approximate), x
    )


def test_selu_at_zero():
    assert_same_gradients(tf.nn.selu, np.array([-1.0, -0.0, 0.0, 1e-9, 1.0]))


@pytest.mark.parametrize(
    "root, bound", [(tf.sqrt, tf.maximum), (tf.math.rsqrt, tf.minimum)]
)
def test_roots_pass_nothing_on_at_zero(root, bound):
    x = np.array([0.0, 0.25, 4.0])

    assert_same_gradients(lambda x: bound(root(x), 1.5), x)


def test_relu6_stops_at_both_ends():
    x = np.array([-1.0, 0.0, 1.0, 6.0, 7.0])

    assert_same_gradients(tf.nn.relu6, x)


@pytest.mark.parametrize(
    ("left", "right"), [((3,), (2, 3)), ((), (2, 3)), ((2, 1), (1, 3))]
)
def test_mul_sums_over_what_was_broadcast(left, right):
    assert_same_gradients(lambda x, y: x * y, left, right)


@pytest.mark.parametrize("row", CONVERTIBLE)
def test_rows_run_in_litert(row):
    assert_runs_in_litert(*ROWS[row])


@pytest.mark.parametrize("name", ["gelu", "hard_silu", "selu", "silu"])
def test_keras_activations_run_in_litert(name):
    assert_runs_in_litert(activation(name), (2, 3, 8))
