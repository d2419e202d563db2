import keras
import numpy as np
import pytest

from keras_split.errors import ProtocolError
from keras_split.training.optimizer_description import describe
from keras_split.training.vector_optimizer import VectorOptimizer

HALF = np.array([1.0, 2.0, 3.0], np.float32)
CHANGES = np.array([[0.1, -0.2, 0.0], [0.3, 0.1, -0.4]], np.float32)


def made(optimizer):
    return VectorOptimizer(describe(optimizer), HALF.size)


def test_sgd_with_a_rate_of_one_is_the_average_as_it_is():
    change = made(keras.optimizers.SGD(1.0)).change(HALF, CHANGES[0])

    np.testing.assert_allclose(change, CHANGES[0], atol=1e-6)


def test_momentum_is_fedavgm():
    optimizer = made(keras.optimizers.SGD(1.0, momentum=0.9))

    first = optimizer.change(HALF, CHANGES[0])
    second = optimizer.change(HALF + first, CHANGES[1])

    np.testing.assert_allclose(second, 0.9 * CHANGES[0] + CHANGES[1], atol=1e-6)


def test_adam_is_fedadam():
    adam = keras.optimizers.Adam(0.01, beta_1=0.9, beta_2=0.99, epsilon=1e-3)

    change = made(adam).change(HALF, CHANGES[0])

    # Its first step, with the bias of both means taken out.
    expected = 0.01 * CHANGES[0] / (np.abs(CHANGES[0]) + 1e-3)
    np.testing.assert_allclose(change, expected, rtol=0.1, atol=1e-6)


def test_another_server_goes_on_with_its_slots():
    optimizer = made(keras.optimizers.Adam(0.01))
    first = optimizer.change(HALF, CHANGES[0])
    again = made(keras.optimizers.Adam(0.01))

    again.set_slots(optimizer.slots())

    np.testing.assert_array_equal(
        again.change(HALF + first, CHANGES[1]),
        optimizer.change(HALF + first, CHANGES[1]),
    )


def test_a_scale_of_losses_has_no_meaning_here():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())

    with pytest.raises(ProtocolError, match="Take the one inside") as raised:
        made(scaled)
    assert raised.value.reason == "optimizer"
