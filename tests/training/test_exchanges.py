"""A strategy, as the graph of a step calls it."""

import numpy as np
import pytest
import tensorflow as tf

from keras_split.compression.cut import client_cuts
from keras_split.compression.rules import Quantization
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.defenses import Chain
from keras_split.errors import ProtocolError
from keras_split.training.exchanges import Exchanges

CUTS = client_cuts(
    [TensorSpec("a", (2,))],
    [TensorSpec("b", (3,))],
    Quantization("float32"),
    leaves=["float32"],
    arrives=None,
    defenses=Chain(),
)
SMASHED = tf.constant([[1.0, 2.0]])
GRADS = tf.constant([[1.0, 2.0, 3.0]])


class Echo:
    """Answers with ones, and keeps what it heard."""

    def __init__(self):
        self.heard = []

    def forward(self, smashed):
        self.heard.append(smashed[0].codes.tolist())
        ones = np.ones((1, 3), np.float32)
        return [CutTensor("b", ones.shape, ones)], 0.5

    infer = forward

    def backward(self, features_grad, learning_rate):
        self.heard.append((features_grad[0].codes.tolist(), learning_rate))
        ones = np.ones((1, 2), np.float32)
        return [CutTensor("a", ones.shape, ones)]

    def committed(self):
        self.heard.append("committed")


def exchanges():
    echo = Echo()
    return Exchanges(CUTS, lambda: echo), echo


@pytest.mark.parametrize("ask", ["ask_forward", "ask_infer"])
def test_smashed_data_become_penalty_and_features(ask):
    made, echo = exchanges()

    penalty, features = getattr(made, ask)([SMASHED])

    assert (float(penalty), features.numpy().tolist()) == (0.5, [[1, 1, 1]])
    assert echo.heard == [[[1, 2]]]


def test_gradients_travel_with_the_learning_rate():
    made, echo = exchanges()

    back = made.ask_backward(tf.constant(0.5), tf.constant(1.0), [GRADS])

    assert back[0].numpy().tolist() == [[1, 1]]
    assert echo.heard == [([[1, 2, 3]], 0.5)]


def test_a_loss_that_is_not_finite_is_not_sent():
    made, echo = exchanges()

    with pytest.raises(Exception):  # noqa: B017 (TensorFlow's report)
        made.ask_backward(tf.constant(0.5), tf.constant(np.nan), [GRADS])

    assert isinstance(made.failure, ProtocolError)
    assert echo.heard == []


def test_a_step_is_settled_when_the_server_has_taken_it():
    made, echo = exchanges()

    assert float(made.settle(tf.constant(0.0), [GRADS])) == 0

    assert echo.heard == ["committed"]
    with pytest.raises(Exception):  # noqa: B017
        made.settle(tf.constant(np.inf), [])
    assert made.failure.reason == "not-finite"
