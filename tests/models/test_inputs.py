"""Inputs and labels of every form that Keras takes, for a split model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_split
from keras_split.errors import DataError
from keras_split.errors import OptionError
from tests import nets
from tests.pair import Pair
from tests.pair import assert_fits_alike

RNG = np.random.default_rng(0)
ONE = RNG.normal(size=(16, 4)).astype("float32")
TWO = RNG.normal(size=(16, 4)).astype("float32")
Y = RNG.normal(size=(16, 1)).astype("float32")
KINDS = RNG.integers(0, 3, 16)
WEIGHTS = np.linspace(0, 2, 16).astype("float32")

# Keras says so of whole models, too.
pytestmark = [
    pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict"),
    pytest.mark.filterwarnings("ignore:Gradients do not exist"),
]


class AddIfGiven(layers.Layer):
    """Adds its second input, if there is one."""

    def call(self, x, more=None):
        return x if more is None else x + 0.5 * more


# -- inputs ------------------------------------------------------------------


def other_keys():
    """A dict whose keys are not the names, nor in their order."""
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
    x = layers.Dense(3, name="a")(layers.Subtract()([one, two]))
    x = layers.Dense(3, name="b")(x)
    return keras.Model({"zz": one, "left": two}, layers.Dense(1)(x))


def test_inputs_go_by_the_keys_that_a_model_was_made_with():
    pair = Pair(other_keys).compile(loss="mse")

    assert_fits_alike(pair, lambda: ({"left": ONE, "zz": TWO}, Y))

    inputs = {"left": ONE, "zz": TWO}
    np.testing.assert_allclose(
        pair.client.predict(inputs, verbose=0),
        pair.whole.predict(inputs, verbose=0),
        atol=1e-6,
    )


def test_a_bottleneck_keeps_the_structure_of_the_inputs():
    client, _ = keras_split.compile(
        nets.built(other_keys), ["a", "b"], bottleneck=3
    )
    client.compile("sgd", "mse")

    client.fit({"left": ONE, "zz": TWO}, Y, verbose=0)

    assert client.wiring.structure == {"zz": "one", "left": "two"}


def optional():
    """An input that may be None in the head, and one in the tail."""
    x = keras.Input((4,), name="x")
    head = keras.Input((4,), name="head", optional=True)
    tail = keras.Input((3,), name="tail", optional=True)
    y = layers.Dense(3, name="a")(AddIfGiven()(x, head))
    y = AddIfGiven()(layers.Dense(3, name="b")(y), tail)
    return keras.Model([x, head, tail], layers.Dense(1)(y))


@pytest.mark.parametrize("given", [True, False])
def test_an_optional_input_may_be_none(given):
    pair = Pair(optional).compile(loss="mse")
    inputs = [ONE, TWO, TWO[:, :3]] if given else [ONE, None, None]

    assert_fits_alike(pair, lambda: (inputs, Y), batch_size=8)


# -- labels of a model that is cut once --------------------------------------


def two_outputs():
    x = values = keras.Input((4,))
    x = layers.Dense(5, name="b")(layers.Dense(5, name="a")(x))
    kind = layers.Dense(3, activation="softmax", name="kind")(x)
    return keras.Model(
        values, {"size": layers.Dense(1, name="size")(x), "kind": kind}
    )


KIND_ONLY = {"kind": "sparse_categorical_crossentropy"}


@pytest.mark.parametrize(
    ("y", "loss", "options"),
    [
        ({"kind": KINDS}, KIND_ONLY, {}),
        pytest.param(
            *({"kind": KINDS}, KIND_ONLY),
            {"sample_weight": {"kind": WEIGHTS}},
            marks=pytest.mark.slow,
        ),
        (
            {"kind": KINDS, "size": Y},
            KIND_ONLY | {"size": "mse"},
            {"sample_weight": {"kind": WEIGHTS, "size": 1 - WEIGHTS / 2}},
        ),
    ],
)
def test_an_output_without_a_loss_needs_no_labels(y, loss, options):
    pair = Pair(two_outputs, ["a"])
    pair.compile(loss=loss)

    assert_fits_alike(pair, lambda: (ONE, y), **options)


def test_an_output_with_a_loss_needs_labels():
    client = Pair(two_outputs, ["a"]).client
    client.compile("sgd", KIND_ONLY | {"size": "mse"})

    with pytest.raises(DataError, match="none for 'size'. Leave its loss out"):
        client.fit(ONE, {"kind": KINDS}, verbose=0)


# -- one layer in head and tail ----------------------------------------------


def words_twice():
    """One Embedding for the words of the head and those of the tail."""
    one = keras.Input((3,), dtype="int32", name="one")
    two = keras.Input((3,), dtype="int32", name="two")
    words = layers.Embedding(6, 2, name="words")
    x = layers.Dense(4, name="a")(layers.Flatten()(words(one)))
    x = layers.Dense(4, name="b")(x)
    x = layers.Concatenate()([x, layers.Flatten()(words(two))])
    return keras.Model([one, two], layers.Dense(1)(x))


def test_an_embedding_may_be_in_head_and_tail():
    pair = Pair(words_twice).compile(loss="mse")
    words = RNG.integers(0, 6, (16, 3)), RNG.integers(0, 6, (16, 3))

    assert_fits_alike(pair, lambda: (words, Y), batch_size=8)


def shared_with_a_loss():
    """A layer of head and tail that adds a loss of its activations."""
    x = values = keras.Input((4,))
    shared = layers.Dense(4, activity_regularizer="l2", name="shared")
    x = layers.Dense(4, name="b")(layers.Dense(4, name="a")(shared(x)))
    return keras.Model(values, layers.Dense(1)(shared(x)))


def test_a_layer_of_head_and_tail_adds_its_loss_in_both():
    pair = Pair(shared_with_a_loss).compile(loss="mse")

    assert_fits_alike(pair, lambda: (ONE, Y), batch_size=8)


# -- masks -------------------------------------------------------------------


def masked_outputs():
    """The second input of the tail has a mask; no output has one."""
    x = words = keras.Input((3,), dtype="int32")
    words = layers.Embedding(6, 2, mask_zero=True, name="words")(x)
    y = layers.Flatten()(layers.SimpleRNN(3, unroll=True, name="a")(words))
    y = layers.Dense(3, name="b")(y)
    skip = layers.Dense(1, name="skip")(words)
    return keras.Model(
        x, [layers.Dense(1)(y), keras.ops.reshape(skip, (-1, 3))]
    )


@pytest.mark.slow
def test_a_mask_that_the_tail_reads_is_none_of_its_outputs():
    pair = Pair(masked_outputs).compile(loss="mse")
    words = RNG.integers(0, 2, (16, 3))

    whole, split = pair.fit(lambda: (words, [Y, ONE[:, :3]]), batch_size=8)

    np.testing.assert_allclose(split["loss"], whole["loss"], rtol=1e-5)
    assert pair.difference() <= 1e-6


# -- a call of one's own -----------------------------------------------------


@pytest.fixture(scope="module")
def pair():
    return Pair().compile()


@pytest.fixture
def called(pair):
    pair.client.connect()
    return pair.client


def test_a_call_in_training_mode_is_refused(called):
    with pytest.raises(OptionError, match="Received: training=True. Train wi"):
        called(ONE, training=True)


def test_gradients_round_the_server_are_refused(called):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(called(ONE))

    with pytest.raises(OptionError, match="a GradientTape round a call"):
        tape.gradient(loss, called.trainable_variables)


def test_gradients_by_an_input_are_refused(called):
    x = tf.constant(ONE)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_mean(called(x))

    with pytest.raises(OptionError, match="a GradientTape round a call"):
        tape.gradient(loss, x)


def test_gradients_of_the_tail_alone_are_those_of_the_whole_model(pair, called):
    grads = []
    for model, owner in ((pair.whole, pair.whole), (called, pair.model)):
        weights = owner.get_layer("c").trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for weight in weights:
                tape.watch(weight.value)
            loss = tf.reduce_sum(model(ONE)[:, :1])
        grads.append(tape.gradient(loss, [w.value for w in weights]))

    for one, two in zip(*grads, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("kind", [list, tuple])
def test_one_output_in_a_list_is_that_output(kind):
    given = keras.Input((4,))
    first = layers.Dense(3, name="first")(given)
    second = layers.Dense(3, name="second")(first)
    model = keras.Model(given, kind([layers.Dense(1)(second)]))

    client, server = keras_split.compile(model, ["first", "second"])

    whole = keras_split.join(client, server)
    for one in (model, client, whole):
        assert one.predict(ONE, verbose=0).shape == (16, 1)


def test_a_client_that_is_cut_once_predicts_before_it_is_compiled():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a")])
    model.add(layers.Dense(1))
    client, _ = keras_split.compile(model, ["a"], quantization="float32")

    expected = model.predict(ONE, verbose=0)

    np.testing.assert_allclose(
        client.predict(ONE, verbose=0), expected, rtol=1e-5
    )
