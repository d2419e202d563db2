"""The phone trains in microbatches; the update is that of the whole batch."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from keras_split import SplitStrategy
from keras_split.errors import ProtocolError
from keras_split.training.client_microbatches import _schedule
from tests import nets

LOSS = "sparse_categorical_crossentropy"
# 26 examples in batches of 8, the last of 2, which 3 cannot share.
STEPS_20 = {"batch_size": 8, "epochs": 5, "shuffle": False, "verbose": 0}


def convolutions():
    """L2 in each segment of `["a", "b"]`, and nothing that sees the batch."""
    image = keras.Input((8, 8, 2), name="image")
    options = {"kernel_regularizer": "l2", "activation": "relu"}
    x = layers.Conv2D(4, 3, name="a", **options)(image)
    x = layers.Conv2D(6, 3, name="b", **options)(x)
    x = layers.Dense(8, name="c", **options)(layers.Flatten(name="flat")(x))
    x = layers.Dense(3, activation="softmax", name="out")(x)
    return keras.Model(image, x)


def skipping():
    """A skip connection from head to tail, round `["a", "b"]`."""
    values = keras.Input((4,), name="values")
    first = layers.Dense(5, activation="tanh", name="first")(values)
    x = layers.Dense(4, activation="tanh", name="a")(first)
    x = layers.Dense(4, activation="tanh", name="b")(x)
    x = layers.Concatenate(name="join")([x, first])
    x = layers.Dense(3, activation="softmax", name="out")(x)
    return keras.Model(values, x)


def reading():
    """Embeddings of words that come up more than once in a batch."""
    words = keras.Input((5,), dtype="int32", name="words")
    x = layers.Embedding(6, 4, name="embed")(words)
    x = layers.Dense(4, activation="tanh", name="a")(x)
    x = layers.Dense(4, activation="tanh", name="b")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(words, layers.Dense(3, "softmax", name="out")(x))


def sharing():
    """The same of words that the server has: its embeddings."""
    values = keras.Input((4,), name="values")
    words = keras.Input((5,), dtype="int32", name="words")
    x = layers.Dense(4, activation="tanh", name="a")(values)
    read = layers.Embedding(6, 4, name="embed")(words)
    x = layers.Add()([x, layers.GlobalAveragePooling1D()(read)])
    x = layers.Dense(4, activation="tanh", name="b")(x)
    return keras.Model([values, words], layers.Dense(3, "softmax")(x))


def split(microbatches, build=convolutions, cut=("a", "b"), **options):
    """A compiled client in whose process the server is, and the model."""
    quantization = options.pop("quantization", "float32")
    model = nets.built(build)
    client, _ = keras_split.compile(
        *(model, list(cut)),
        quantization=quantization,
        share=options.pop("share", ()),
    )
    options = {"loss": LOSS, "metrics": ["accuracy"]} | options
    client.compile(
        options.pop("optimizer", None) or keras.optimizers.SGD(0.05, 0.9),
        strategy=SplitStrategy(microbatches=microbatches),
        **options,
    )
    return client, model


def fitted(microbatches, data=None, fit=None, **options):
    """Weights and logs after some steps."""
    client, model = split(microbatches, **options)
    history = client.fit(*(data or nets.images()), **(fit or STEPS_20))
    client.close()
    return nets.values_of(model), history.history


def test_gradients_of_embeddings_stay_those_of_the_whole_batch_for_adam():
    _, y = nets.images()
    words = np.random.default_rng(0).integers(0, 6, (len(y), 5))

    def weights(microbatches):
        adam = keras.optimizers.Adam(0.01, epsilon=1e-3)
        return fitted(microbatches, (words, y), build=reading, optimizer=adam)[
            0
        ]

    assert nets.largest_difference(weights(3), weights(1)) < 1e-5


@pytest.mark.slow
def test_so_do_those_of_embeddings_on_the_server():
    _, y = nets.images()
    rng = np.random.default_rng(0)
    values = rng.normal(size=(len(y), 4)).astype("float32")
    words = rng.integers(0, 6, (len(y), 5))

    def weights(microbatches):
        adam = keras.optimizers.Adam(0.01, epsilon=1e-3)
        return fitted(
            *(microbatches, ([values, words], y)),
            build=sharing,
            optimizer=adam,
            share=["words"],
        )[0]

    assert nets.largest_difference(weights(3), weights(1)) < 1e-5


@functools.cache
def whole():
    return fitted(1)


@pytest.mark.parametrize(
    "microbatches", [3, pytest.param(5, marks=pytest.mark.slow)]
)
def test_weights_and_logs_are_those_of_the_whole_batch(microbatches):
    weights, logs = fitted(microbatches)

    expected, expected_logs = whole()
    before = nets.values_of(nets.built(convolutions))
    assert nets.largest_difference(expected, before) > 0.1
    assert nets.largest_difference(weights, expected) < 1e-6
    np.testing.assert_allclose(logs["loss"], expected_logs["loss"], rtol=1e-5)
    assert logs["accuracy"] == expected_logs["accuracy"]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
def test_the_phone_asks_in_the_order_in_which_it_waits(count):
    """And at most four microbatches are between forward and backward."""
    asked, waited, in_flight, most = [], [], 0, 0
    for what, i in _schedule(count):
        if what == "head":
            asked.append(("features", i))
            in_flight += 1
        elif what == "tail":
            waited.append(("features", i))
            asked.append(("gradients", i))
            in_flight -= 1
        else:
            waited.append(("gradients", i))
        most = max(most, in_flight)

    assert waited == asked
    assert len(asked) == len(set(asked)) == 2 * count
    assert most == min(count, 4)


@pytest.mark.slow
def test_codes_do_not_depend_on_the_microbatch():
    weights, _ = fitted(3, quantization="int8")
    expected, _ = fitted(1, quantization="int8")

    assert nets.largest_difference(weights, expected) < 1e-3


@pytest.mark.slow
def test_skips_stay_with_their_microbatch():
    options = {"data": nets.vectors(), "build": skipping}

    weights, logs = fitted(3, **options)

    expected, expected_logs = fitted(1, **options)
    assert nets.largest_difference(weights, expected) < 1e-5
    np.testing.assert_allclose(logs["loss"], expected_logs["loss"], rtol=1e-4)


@pytest.mark.slow
def test_several_inputs_outputs_losses_and_sample_weights():
    x, y = nets.images(channels=1)
    extra = np.linspace(-1, 1, len(x) * 3).reshape(-1, 3).astype("float32")
    sizes = np.linspace(0, 1, len(x)).astype("float32")[:, None]
    weight = np.linspace(0.5, 2, len(x)).astype("float32")
    data = (
        {"image": x, "extra": extra},
        {"kind": y, "size": sizes},
    )
    options = {
        "build": nets.two_by_two,
        "cut": ("a", "b"),
        "loss": {"kind": LOSS, "size": "mse"},
        "metrics": {"kind": "accuracy"},
        "data": data,
        "fit": STEPS_20 | {"sample_weight": {"kind": weight, "size": weight}},
    }

    weights, logs = fitted(3, **options)

    expected, expected_logs = fitted(1, **options)
    assert nets.largest_difference(weights, expected) < 1e-5
    assert logs.keys() == expected_logs.keys()
    for name, values in logs.items():
        np.testing.assert_allclose(values, expected_logs[name], rtol=1e-4)


@pytest.mark.slow
def test_a_sum_is_not_weighted():
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="sum")

    def fit(microbatches):
        return fitted(
            microbatches,
            data=nets.vectors(),
            build=nets.dense,
            loss=loss,
            optimizer=keras.optimizers.SGD(0.01),
        )

    (weights, logs), (expected, expected_logs) = fit(3), fit(1)

    assert nets.largest_difference(weights, expected) < 1e-5
    np.testing.assert_allclose(logs["loss"], expected_logs["loss"], rtol=1e-5)


@pytest.mark.slow
def test_it_works_without_a_graph_too():
    short = STEPS_20 | {"epochs": 1}
    options = {"data": nets.vectors(), "build": nets.dense, "fit": short}

    weights, _ = fitted(3, **options, run_eagerly=True)

    expected, _ = fitted(1, **options)
    assert nets.largest_difference(weights, expected) < 1e-6


@pytest.mark.slow
def test_a_loss_scale_is_taken_out_again():
    def fit(microbatches):
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.05)
        )
        return fitted(
            microbatches,
            data=nets.vectors(),
            build=nets.dense,
            optimizer=optimizer,
        )

    assert nets.largest_difference(fit(3)[0], fit(1)[0]) < 1e-5


@pytest.mark.slow
def test_batchnorm_sees_each_microbatch_and_moves_once():
    """Each is normalized by itself; the moving mean is that of the batch."""

    def net():
        image = keras.Input((8, 8, 2))
        x = layers.Conv2D(4, 3, name="a")(image)
        x = layers.BatchNormalization(momentum=0.5, name="norm")(x)
        x = layers.Conv2D(4, 3, name="b")(x)
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.Model(image, layers.Dense(3, "softmax", name="c")(x))

    x, y = nets.images(9)
    statistics = []
    for cut in (("norm", "b"), ("a", "b")):  # in the head, in the body
        for microbatches in (1, 3):
            client, model = split(microbatches, build=net, cut=cut)
            client.train_on_batch(x, y)
            client.close()
            norm = model.get_layer("norm")
            mean, variance = norm.moving_mean, norm.moving_variance
            statistics.append((mean.numpy(), variance.numpy()))
    model = nets.built(net)
    made = model.get_layer("a")(x).numpy()
    within = [made[i : i + 3].var(axis=(0, 1, 2)) for i in (0, 3, 6)]

    for i in (0, 2):
        (mean, variance), (parts_mean, parts_variance) = statistics[i : i + 2]
        np.testing.assert_allclose(parts_mean, mean, rtol=1e-5, atol=1e-7)
        assert (parts_variance <= variance + 1e-7).all()
        np.testing.assert_allclose(
            parts_variance, 0.5 + 0.5 * np.mean(within, axis=0), rtol=1e-4
        )


@pytest.mark.slow
def test_seeds_of_the_phone_go_on_from_one_microbatch_to_the_next():
    client, _ = split(2, build=nets.plain, cut=("a_relu", "b_drop"))
    seeds = [
        v
        for v in client.non_trainable_variables
        if v.path.endswith("seed_generator_state")
    ]
    before = [v.numpy() for v in seeds]

    client.train_on_batch(*nets.images(8))

    assert len(seeds) == 2
    for old, new in zip(before, seeds, strict=True):
        assert new.numpy()[1] == old[1] + 2


def test_a_batch_that_is_not_finite_is_skipped():
    client, model = split(3, build=nets.dense)  # where NaN stays NaN
    x, y = nets.vectors(9)
    client.train_on_batch(x, y)
    before = nets.values_of(model)
    broken = x.copy()
    broken[4] = np.nan  # of the second microbatch

    logs = client.train_on_batch(broken, y, return_dict=True)
    after = nets.values_of(model)
    taken = client.strategy.next_step
    client.train_on_batch(x, y)

    assert np.isnan(logs["loss"])
    assert nets.largest_difference(after, before) == 0
    assert (taken, client.strategy.next_step) == (1, 2)
    assert nets.largest_difference(nets.values_of(model), before) > 0


class Own(keras.losses.Loss):
    def __call__(self, y, predicted, sample_weight=None):
        return keras.ops.mean(predicted)


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (keras.losses.SparseCategoricalCrossentropy(reduction=None), "None"),
        (
            keras.losses.SparseCategoricalCrossentropy(
                reduction="mean_with_sample_weight"
            ),
            "mean_with_sample_weight",
        ),
        (Own(), "Own with a __call__"),
    ],
)
def test_a_loss_that_cannot_be_shared_is_refused(loss, text):
    client, _ = split(3, loss=loss)

    with pytest.raises(ProtocolError, match=text) as info:
        client.train_on_batch(*nets.images(8))

    assert info.value.reason == "microbatches"
    assert "microbatches=1" in str(info.value)


@pytest.mark.parametrize("cut", [("a", "b"), ("b", "c")])
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_losses_of_activations_are_refused(cut, name):
    def net():
        x = values = keras.Input((4,))
        for layer in "abc":
            penalty = "l2" if layer == name else None
            x = layers.Dense(3, activity_regularizer=penalty, name=layer)(x)
        return keras.Model(values, layers.Dense(3, "softmax", name="d")(x))

    client, _ = split(2, build=net, cut=cut)

    with pytest.raises(ProtocolError, match="loss of its activations"):
        client.train_on_batch(*nets.vectors(8))


def test_a_model_that_is_cut_once_is_refused():
    client, _ = split(2, cut=("a",))

    with pytest.raises(ProtocolError, match="cut once") as info:
        client.fit(*nets.images(), **STEPS_20)

    assert info.value.reason == "microbatches"
