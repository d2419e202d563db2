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

    def expects(self, *, smashed_grad):
        self.expected = smashed_grad

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


def test_smashed_data_become_penalty_and_features():
    made, echo = exchanges()

    answered = made.forward([SMASHED])

    assert float(answered.penalty) == 0.5
    assert answered.parts[0].numpy().tolist() == [[1, 1, 1]]
    assert echo.heard == [[[1, 2]]]


def test_a_server_that_sends_gradients_all_the_same_is_understood():
    """One that is older does not know of heads that do not train."""
    made, echo = exchanges()

    forward = made.forward([SMASHED], smashed_grad=False)
    backward = forward.backward(tf.constant(0.5), tf.constant(1.0), [GRADS])
    backward.commit(tf.constant(0.0))

    assert not echo.expected
    assert backward.parts == []
    assert echo.heard[-1] == "committed"


def test_inference_gives_penalty_and_features():
    made, echo = exchanges()

    penalty, features = made.infer([SMASHED])

    assert (float(penalty), features.numpy().tolist()) == (0.5, [[1, 1, 1]])
    assert echo.heard == [[[1, 2]]]


def test_gradients_travel_with_the_learning_rate():
    made, echo = exchanges()

    back = made.backward(tf.constant(0.5), tf.constant(1.0), [GRADS])

    assert back.parts[0].numpy().tolist() == [[1, 1]]
    assert echo.heard == [([[1, 2, 3]], 0.5)]


def test_a_loss_that_is_not_finite_is_not_sent():
    made, echo = exchanges()

    with pytest.raises(ProtocolError, match="loss"), made.calls.explained():
        made.backward(tf.constant(0.5), tf.constant(np.nan), [GRADS])

    assert echo.heard == []


def test_a_step_is_settled_when_the_server_has_taken_it():
    made, echo = exchanges()

    assert float(made.commit(tf.constant(0.0), [GRADS])) == 0

    assert echo.heard == ["committed"]
    with pytest.raises(ProtocolError) as info, made.calls.explained():
        made.commit(tf.constant(np.inf), [])
    assert info.value.reason == "not-finite"
