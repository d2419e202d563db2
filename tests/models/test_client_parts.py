"""Whatever layers a model is made of, its halves train as it does."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from tests import nets
from tests.pair import Pair
from tests.pair import assert_fits_alike
from tests.pair import assert_same_logs
from tests.pair import sgd

CUT = ["a_relu", "b_drop"]


def plain(cut=CUT, prepare=None):
    """A pair with BatchNorm, Dropout and L2 in each segment."""
    return Pair(nets.plain, cut, prepare)


def examples():
    """26 vectors, labels, and weights of 0 to 2."""
    x, y = nets.vectors()
    return x, y, np.linspace(0, 2, len(x), dtype="float32")


def freeze(*names):
    def prepare(model):
        for name in names:
            model.get_layer(name).trainable = False

    return prepare


@pytest.mark.slow
@pytest.mark.parametrize(
    "frozen",
    [
        ("b", "b_bn"),
        ("c", "c_bn", "out"),
        ("a", "a_bn", "b", "b_bn"),
        ("b_bn", "c_bn"),
    ],
    ids="+".join,
)
def test_frozen_layers(frozen):
    pair = plain(prepare=freeze(*frozen)).compile()
    stay = [v.numpy() for n in frozen for v in pair.model.get_layer(n).weights]

    assert_fits_alike(pair, nets.images)

    after = [v.numpy() for n in frozen for v in pair.model.get_layer(n).weights]
    assert nets.largest_difference(stay, after) == 0


def test_one_cut_with_a_frozen_head():
    pair = plain(CUT[:1], freeze("a", "a_bn")).compile()

    assert_fits_alike(pair, nets.images)


@pytest.mark.parametrize("cut", [["a", "b"], ["a"]], ids=["two", "one"])
def test_a_schedule_goes_on_where_the_phone_has_no_weights_to_train(cut):
    def scheduled():
        rate = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
        return keras.optimizers.SGD(rate)

    prepare = freeze("a", "c") if len(cut) == 2 else freeze("a")
    pair = Pair(nets.dense, cut, prepare).compile(scheduled)

    assert_fits_alike(pair)

    steps = [int(m.optimizer.iterations) for m in (pair.whole, pair.client)]
    assert steps == [2, 2]


def test_layers_thawed_between_two_fits():
    pair = Pair(prepare=freeze("b", "c")).compile()
    pair.fit()

    for model in (pair.whole, pair.model):
        for name in ("b", "c"):
            model.get_layer(name).trainable = True
    pair.compile()

    assert_fits_alike(pair)


def small_scale():
    return keras.optimizers.LossScaleOptimizer(sgd(), initial_scale=64.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "optimizer", "cut"),
    [
        ("mixed_bfloat16", sgd, CUT),
        ("mixed_float16", small_scale, CUT[:1]),
        ("mixed_float16", small_scale, CUT),
    ],
)
def test_mixed_precision(policy, optimizer, cut):
    keras.config.set_dtype_policy(policy)
    pair = plain(cut).compile(optimizer)

    expected, actual = pair.fit(nets.images, batch_size=8, epochs=1)

    assert pair.difference() <= 1e-5
    assert_same_logs(actual, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [CUT, CUT[:1]], ids=["two", "one"])
def test_an_overflow_in_float16_skips_steps_until_the_scale_fits(cut):
    keras.config.set_dtype_policy("mixed_float16")
    pair = plain(cut).compile()  # Keras starts with a scale of 32,768

    before = pair.model.get_weights()
    expected, actual = pair.fit(nets.images, batch_size=8, epochs=3)

    assert nets.largest_difference(before, pair.model.get_weights()) > 0.01
    assert_same_logs(actual, expected, rtol=0.1)


def regularized():
    """Each segment has an activity regularizer and a weight regularizer."""
    x = values = keras.Input((4,), name="values")
    for name in "abc":
        x = layers.Dense(
            5,
            activation="tanh",
            activity_regularizer=keras.regularizers.L2(0.1),
            kernel_regularizer=keras.regularizers.L1(0.01),
            name=name,
        )(x)
    return keras.Model(values, x)


def targets():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 4)), rng.normal(size=(20, 5))


@pytest.mark.slow
@pytest.mark.parametrize("cut", [["a", "b"], ["a"]], ids=["two", "one"])
def test_the_loss_holds_the_regularizers_of_every_half(cut):
    pair = Pair(regularized, cut).compile(loss="mse")

    assert_fits_alike(pair, targets, batch_size=8)

    x, y = targets()
    expected = pair.whole.evaluate(x, y, verbose=0, return_dict=True)
    actual = pair.client.evaluate(x, y, verbose=0, return_dict=True)
    assert_same_logs(actual, expected)


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(4, 3, name="a"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(name="b"),
            layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("cut", [["a", "b"], ["a"]], ids=["two", "one"])
def test_a_sequential_model(cut):
    pair = Pair(sequential, cut).compile(metrics=["accuracy"])

    assert_fits_alike(pair, nets.images)


def test_a_model_with_an_input_that_nobody_reads():
    def build():
        model = nets.dense()
        unread = keras.Input((2,), name="unread")
        return keras.Model([*model.inputs, unread], model.outputs)

    x, y = targets()
    pair = Pair(build, ["a", "b"]).compile(loss="mse")

    assert_fits_alike(pair, lambda: ([x, x[:, :2]], y[:, :3]))


def masked_skip():
    """A mask and a tensor with a mask go from the head to the tail."""
    x = words = keras.Input((5,), dtype="int32", name="words")
    words = layers.Embedding(10, 4, mask_zero=True, name="embed")(x)
    read = layers.SimpleRNN(3, name="read")(words)
    y = layers.Dense(4, activation="tanh", name="b")(read)
    again = layers.SimpleRNN(3, name="again")(words)
    y = layers.Concatenate(name="join")([y, again])
    return keras.Model(x, layers.Dense(3, activation="softmax", name="out")(y))


def sentences():
    rng = np.random.default_rng(0)
    x = rng.integers(1, 10, (20, 5))
    x[:, 3:] *= rng.integers(0, 2, (20, 1))
    return x, rng.integers(0, 3, 20)


@pytest.mark.slow
def test_a_mask_goes_round_the_server():
    pair = Pair(masked_skip, ["read", "b"]).compile()

    assert_fits_alike(pair, sentences, batch_size=8)


def far():
    """Takes 1,000 from its inputs, which half precision would round."""
    x = values = keras.Input((4,), name="values")
    x = layers.Rescaling(1.0, -1000.0, dtype="float32")(x)
    for name in "abc":
        x = layers.Dense(4, name=name)(x)
    return keras.Model(values, x)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_inputs_of_a_prediction_keep_their_precision(policy):
    keras.config.set_dtype_policy(policy)
    pair = Pair(far)
    x, _ = nets.vectors()

    expected, found = (
        model.predict(1000 + x, verbose=0)
        for model in (pair.whole, pair.client)
    )

    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * scale)


def test_the_loss_is_scaled_where_keras_scales_that_of_the_whole_model():
    keras.config.set_dtype_policy("mixed_float16")
    pair = plain()
    keras.config.set_dtype_policy("float32")
    client, _ = keras_split.compile(pair.model, CUT)

    for model in (pair.whole, client):
        model.compile("sgd", "mse")

    kinds = [type(m.optimizer) for m in (pair.whole, client)]
    assert kinds == [keras.optimizers.LossScaleOptimizer] * 2
