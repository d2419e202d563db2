"""State that layers move from batch to batch goes on as in a whole model."""

import functools

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_split
from keras_split import SplitStrategy
from keras_split.errors import CutError
from keras_split.errors import ProtocolError
from keras_split.partition.partition import Partition
from keras_split.training.state_scope import StateScope
from tests.pair import Pair
from tests.pair import assert_fits_alike
from tests.random_models import Moving

RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=(12, 3, 2)).astype("float32")
ROWS = RNG.normal(size=(12, 3)).astype("float32")
Y = RNG.normal(size=(12, 1)).astype("float32")


def recurrent(stateful=("head", "tail")):
    """An RNN in head, body and tail."""
    x = series = keras.Input(batch_shape=(4, 3, 2))
    options = {"return_sequences": True, "unroll": True}
    for name, end in (("head", "a"), ("body", "b"), ("tail", "c")):
        x = layers.SimpleRNN(
            3, stateful=name in stateful, name=name, **options
        )(x)
        x = layers.Dense(3, name=end)(x)
    return keras.Model(series, layers.Dense(1)(layers.Flatten()(x)))


def states(model):
    """What the RNNs of a model remember, summed up."""
    found = [getattr(layer, "states", None) or [] for layer in model.layers]
    return [np.array(v) for states in found for v in states]


@pytest.fixture(scope="module")
def recurrent_pair():
    return Pair(recurrent).compile(loss="mse")


@pytest.mark.slow
def test_a_stateful_rnn_on_the_phone_remembers_the_batch_before(recurrent_pair):
    pair = recurrent_pair

    assert_fits_alike(pair, lambda: (SERIES, Y), batch_size=4)

    whole, split = states(pair.whole), states(pair.model)
    assert len(whole) == 2
    for one, two in zip(whole, split, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
        assert np.abs(one).max() > 0


def test_microbatches_of_a_stateful_rnn_are_refused(recurrent_pair, serve):
    client, server = recurrent_pair.client, recurrent_pair.server
    address = serve(server).address
    strategy = SplitStrategy(address, microbatches=2)
    client.compile("sgd", "mse", strategy=strategy)

    with pytest.raises(ProtocolError, match="keeps a state between batches"):
        client.fit(SERIES, Y, batch_size=4, verbose=0)


def wrapped():
    """A stateful RNN that is only found inside of another layer."""
    x = series = keras.Input(batch_shape=(4, 3, 2))
    x = layers.Dense(3, name="a")(x)
    inner = layers.SimpleRNN(3, return_sequences=True, stateful=True)
    x = layers.Bidirectional(inner, name="body")(x)
    return keras.Model(series, layers.Dense(1)(layers.Dense(3, name="b")(x)))


@pytest.mark.parametrize("build", [lambda: recurrent(("body",)), wrapped])
def test_a_stateful_rnn_on_the_server_is_refused(build):
    with pytest.raises(CutError, match="'body' is stateful.*the nearest|near"):
        Partition(build(), ["a", "b"])


Unlisted = functools.partial(Moving, listed=False)


class Noise(layers.Layer):
    """Draws from the seed that all random numbers without one share."""

    def call(self, x, training=False):
        return x + keras.random.normal(ops.shape(x)) if training else x


def chain(**extra):
    """Dense layers `a`, `b` and `c`, each with a layer more behind it."""
    x = values = keras.Input((3,))
    for name in "abc":
        x = layers.Dense(3, name=name)(x)
        if name in extra:
            x = extra[name](name=f"{name}_more")(x)
    return keras.Model(values, layers.Dense(1)(x))


def test_a_variable_that_no_layer_lists_moves_on_the_phone():
    pair = Pair(lambda: chain(a=Unlisted, c=Unlisted), ["a_more", "b"])

    assert_fits_alike(pair.compile(loss="mse"), lambda: (ROWS, Y))

    assert pair.model.get_layer("c_more").number.numpy() > 1.2


def test_random_numbers_without_a_seed_of_their_own_on_the_phone():
    logs = []
    for split in (False, True):
        keras.utils.set_random_seed(0)
        model = chain(a=Noise, c=Noise)
        if split:
            model, _ = keras_split.compile(
                model, ["a_more", "b"], quantization="float32"
            )
        model.compile("sgd", "mse")
        keras.utils.set_random_seed(1)
        made = model.fit(ROWS, Y, shuffle=False, epochs=3, verbose=0)
        logs.append(made.history["loss"])

    np.testing.assert_allclose(*logs, rtol=1e-5)


def body_of(kind):
    client, server = keras_split.compile(
        chain(b=kind), ["a", "b_more"], quantization="float32"
    )
    client.compile("sgd", "mse")
    return client, server


def test_a_variable_that_the_body_does_not_list_is_refused():
    client, _ = body_of(Unlisted)

    with pytest.raises(ProtocolError, match="'number', which moves") as caught:
        client.fit(ROWS, Y, verbose=0)

    assert caught.value.reason == "state"
    assert "add_weight(..., trainable=False)" in str(caught.value)


def test_random_numbers_of_the_body_need_a_seed_of_their_layer():
    client, _ = body_of(Noise)

    with pytest.raises(ProtocolError, match="give random numbers a Seed"):
        client.fit(ROWS, Y, verbose=0)


@pytest.mark.parametrize("where", ["a", "b"])
def test_a_weight_that_is_trained_and_assigned_is_refused(where):
    def kind(name):
        return Moving(listed=True, trainable=True, name=name)

    client, _ = keras_split.compile(
        chain(**{where: kind}), ["a", "b_more" if where == "b" else "b"]
    )
    client.compile("sgd", "mse")

    with pytest.raises(ProtocolError, match="number', a weight that is tr"):
        client.fit(ROWS, Y, verbose=0)


def spectral(name):
    return layers.SpectralNormalization(layers.Dense(3), name=name)


def test_spectral_normalization_is_refused_when_cutting():
    with pytest.raises(CutError, match="'c_more' assigns a weight"):
        Partition(chain(c=spectral), ["a", "b"])


def test_frozen_spectral_normalization_can_be_cut():
    model = chain(c=spectral)
    model.get_layer("c_more").trainable = False

    Partition(model, ["a", "b"])


def test_a_scope_tells_what_was_assigned_and_assigns_nothing():
    known, other = keras.Variable(1.0), keras.Variable(2.0)
    trained = keras.Variable(3.0)

    with StateScope([(trained, 4.0)]) as scope:
        known.assign(trained + 1.0)
        other.assign(known + 1.0)
        other.assign(other + 1.0)

    assert [(v is known, float(x)) for v, x in scope.updates()] == [
        (True, 5.0),
        (False, 7.0),
    ]
    assert float(other) == 2.0
