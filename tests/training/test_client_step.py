"""Head and tail round two exchanges, with a server of a few lines."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_split.defenses import GaussianNoise
from keras_split.defenses.chain import Chain
from keras_split.errors import ProtocolError
from keras_split.errors import TransportError
from keras_split.protocol.messages import LabeledResult
from keras_split.training.client_step import ClientHalf
from tests import links


class Echo:
    """An `Exchange` whose body is `features = smashed`, without weights.

    Args:
        penalty: Of the body.
        fail: The name of a method that raises.
    """

    def __init__(self, penalty=0.0, fail=""):
        self.said = []
        self._penalty, self._fail = penalty, fail

    def expects(self, *, smashed_grad):
        pass

    def forward(self, smashed):
        self._say("forward", smashed)
        return [_renamed(t, "b") for t in smashed], self._penalty

    def backward(self, features_grad, learning_rate):
        self._say("backward", features_grad, learning_rate)
        return [_renamed(t, "a") for t in features_grad]

    def committed(self):
        self._say("committed")

    def infer(self, smashed):
        self._say("infer", smashed)
        return [_renamed(t, "b") for t in smashed], self._penalty

    def labeled_step(self, smashed, labels, sample_weights, learning_rate):
        self._say("labeled_step", smashed, labels, sample_weights)
        return LabeledResult(0, smashed, smashed, 2.0)

    def _say(self, name, *values):
        self.said.append((name, *values))
        if name == self._fail:
            raise TransportError("gone")

    @property
    def names(self):
        return [said[0] for said in self.said]


def _renamed(tensor, name):
    return type(tensor)(name, tensor.shape, tensor.codes, tensor.scales)


class Parts:
    """A model whose body is nothing, as its halves and as a whole."""

    def __init__(self, echo, defenses=()):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        first = keras.layers.Dense(4, name="a")
        last = keras.layers.Dense(1, name="c")
        between = keras.layers.Activation("linear", name="b")
        cut = first(inputs)
        whole = keras.Model(inputs, last(between(cut)))
        self.client, _ = links.keras_split.compile(
            whole, ("a", "b"), quantization="float32"
        )
        self.model = self.client
        self.client.compile(keras.optimizers.SGD(0.5), "mse")
        self.half = ClientHalf(
            self.client.head,
            self.client.tail,
            self.client.contract,
            self.client.wiring.skips,
            lambda: echo,
            Chain(defenses, seed=1),
        )
        rng = np.random.default_rng(0)
        self.x = tf.constant(rng.normal(size=(6, 3)), tf.float32)
        self.y = tf.constant(rng.normal(size=(6, 1)), tf.float32)

    def loss(self, outputs):
        return tf.reduce_mean(tf.square(outputs[0] - self.y))

    def train(self):
        return self.half.train([self.x], [], self.model, self.loss)


def test_a_step_is_said_in_order_and_nothing_moves_before_it_is_committed():
    echo = Echo(penalty=0.25)
    parts = Parts(echo)
    before = [v.numpy() for v in parts.model.variables]

    step = parts.train()

    assert echo.names == ["forward", "backward", "committed"]
    assert echo.said[1][2] == 0.5  # the learning rate
    assert links.same([v.numpy() for v in parts.model.variables], before)
    outputs = parts.model.tail(parts.model.head(parts.x))
    loss = parts.loss([outputs])
    np.testing.assert_allclose(step.loss, loss + 0.25, rtol=1e-6)


def test_gradients_are_those_of_the_whole_model():
    parts = Parts(Echo())
    variables = parts.model.trainable_variables
    with tf.GradientTape() as tape:
        outputs = parts.model.tail(parts.model.head(parts.x))
        loss = parts.loss([outputs])
    expected = tape.gradient(loss, [v.value for v in variables])

    step = parts.train()

    for one, other in zip(step.gradients, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["forward", "backward", "committed"])
def test_what_the_exchange_raises_is_kept_for_the_model(name):
    echo = Echo(fail=name)
    parts = Parts(echo)

    with pytest.raises(TransportError), parts.half.calls.explained():
        parts.train()

    assert echo.names[-1] == name


def test_a_loss_that_is_not_finite_is_not_sent():
    echo = Echo()
    parts = Parts(echo)
    parts.y = tf.fill((6, 1), np.nan)

    with pytest.raises(ProtocolError) as caught, parts.half.calls.explained():
        parts.train()

    assert echo.names == ["forward"]
    assert caught.value.reason == "not-finite"


def test_inference_is_one_exchange():
    echo = Echo(penalty=0.5)
    parts = Parts(echo)

    outputs, penalty = parts.half.infer([parts.x], [])

    assert echo.names == ["infer"]
    assert float(penalty) == 0.5
    expected = parts.model.tail(parts.model.head(parts.x))
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-6)


@pytest.mark.parametrize("frozen", [False, True])
def test_each_step_draws_anew_also_where_no_weight_is_updated(frozen):
    echo = Echo()
    parts = Parts(echo, [GaussianNoise(0.5)])
    parts.client.trainable = not frozen
    rate = keras.optimizers.SGD(0.5, gradient_accumulation_steps=4)
    parts.client.compile(rate, "mse")
    rate.build(parts.client.trainable_variables)

    for _ in range(3):
        parts.train().commit(parts.model)

    sent = [said[1][0].codes for said in echo.said if said[0] == "forward"]
    for one, other in itertools.combinations(sent, 2):
        assert np.abs(one - other).max() > 0.01
