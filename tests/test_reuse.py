"""A frozen head sends a sample once: the same numbers, few bytes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_split
from keras_split import Quantization
from keras_split import Retry
from keras_split import SplitStrategy
from keras_split.errors import OptionError
from keras_split.protocol.row_cache import ENTRY_BYTES
from tests import nets

TWO_CUTS, ONE_CUT = ["a", "b"], ["a"]
LOSS = "sparse_categorical_crossentropy"
BATCH, COUNT = 16, 64
PER_TENSOR = Quantization("int8", granularity="tensor")


def net(rate=0.0):
    """A head of one layer whose output is large beside the features."""
    layers = keras.layers
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Dropout(rate, name="drop")(image)
    x = layers.Conv2D(64, 3, activation="tanh", name="a")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.3, seed=1, name="drop_b")(x)
    x = layers.Dense(4, activation="tanh", name="b")(x)
    return keras.Model(image, layers.Dense(3, activation="softmax")(x))


def halves(cut=TWO_CUTS, rate=0.0, frozen=("a",), **options):
    """Client and server of a net whose head is frozen."""
    keras.utils.set_random_seed(0)
    model = net(rate)
    for name in frozen:
        model.get_layer(name).trainable = False
    return keras_split.compile(model, cut, **options)


class Uplink(keras.callbacks.Callback):
    """Bytes that each epoch sent; `between` is called after the first."""

    def __init__(self, between=lambda: None):
        super().__init__()
        self.epochs = []
        self._between = between

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self._between()
        self._before = self.model.strategy.uplink_bytes

    def on_epoch_end(self, epoch, logs=None):
        after = self.model.strategy.uplink_bytes
        self.epochs.append(after - self._before)


def batches(shuffle):
    """Images in another order in each epoch, the same in each fit.

    Keras' own order comes again in each epoch where its seed is set.
    """
    data = tf.data.Dataset.from_tensor_slices(nets.images(COUNT))
    if shuffle:
        data = data.shuffle(COUNT, seed=1, reshuffle_each_iteration=True)
    return data.batch(BATCH)


def fit(pair, strategy, between=lambda: None, *, epochs=3, shuffle=True):
    """Bytes, logs, and all weights after a fit."""
    client, server = pair
    uplink = Uplink(between)
    client.compile(
        keras.optimizers.Adam(0.01), LOSS, metrics=["accuracy"],
        strategy=strategy,
    )  # fmt: skip
    logs = client.fit(
        batches(shuffle),
        epochs=epochs,
        shuffle=False,  # the batches have an order of their own
        verbose=0,
        callbacks=[uplink],
    ).history
    client.close()
    weights = nets.values_of(client) + nets.values_of(server.body)
    return uplink.epochs, logs, weights


def check_same(one, other):
    """Bit for bit: logs and weights."""
    assert one[1] == other[1]
    for a, b in zip(one[2], other[2], strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cut", "quantization"),
    [
        (TWO_CUTS, "int8"),
        (TWO_CUTS, "float32"),
        (ONE_CUT, "int8"),
        (TWO_CUTS, "int4"),
    ],
)
def test_shuffled_epochs_send_each_sample_once(cut, quantization):
    """Rows go one by one, so that batches may be made of others each time."""
    expected = fit(halves(cut, quantization=quantization), SplitStrategy())

    found = fit(
        halves(cut, quantization=quantization), SplitStrategy(reuse=True)
    )

    check_same(found, expected)
    first, *others = found[0]
    assert max(others) <= 0.05 * first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cut", "quantization", "codec"),
    [
        (TWO_CUTS, "int8", "zstd"),
        (TWO_CUTS, "float32", "raw"),
        (ONE_CUT, "float32", "raw"),
    ],
)
def test_over_grpc_too(serve, cut, quantization, codec):
    options = {"quantization": quantization, "codec": codec}
    pair = halves(cut, **options)
    expected = fit(pair, serve(pair[1]))

    pair = halves(cut, **options)
    address = serve(pair[1]).address
    found = fit(pair, SplitStrategy(address, reuse=True))

    check_same(found, expected)
    first, *others = found[0]
    assert max(others) <= 0.05 * first
    assert first <= 1.02 * expected[0][0]


@pytest.mark.slow
def test_batches_of_one_scale_are_reused_whole_and_only_in_the_same_order():
    options = {"quantization": PER_TENSOR}
    reuse = SplitStrategy(reuse=True)
    expected = fit(halves(**options), SplitStrategy(), shuffle=False)

    found = fit(halves(**options), reuse, shuffle=False)
    shuffled = fit(halves(**options), SplitStrategy(reuse=True))

    check_same(found, expected)
    assert max(found[0][1:]) <= 0.05 * found[0][0]
    assert min(shuffled[0][1:]) > 0.9 * shuffled[0][0]


@pytest.mark.slow
def test_where_the_body_is_frozen_too_next_to_nothing_is_sent():
    pair = halves(frozen=("a", "norm", "b"))

    uplink, logs, _ = fit(pair, SplitStrategy(reuse=True))

    assert uplink[1] <= 0.03 * uplink[0]
    assert logs["loss"][-1] < logs["loss"][0]


@pytest.mark.slow
def test_what_is_only_predicted_is_reused_as_well():
    client, _ = halves()
    x, y = nets.images(COUNT)
    client.compile(loss=LOSS, strategy=SplitStrategy(reuse=True))

    first = client.predict(x, batch_size=BATCH, verbose=0)
    before = client.strategy.uplink_bytes
    second = client.predict(x[::-1], batch_size=BATCH, verbose=0)

    assert client.strategy.uplink_bytes - before <= 0.05 * before
    np.testing.assert_array_equal(second[::-1], first)


@pytest.mark.slow
def test_a_server_that_comes_back_is_sent_everything_once_more(tmp_path):
    expected = fit(halves(), SplitStrategy())
    pair = halves()
    options = {"checkpoints": tmp_path, "checkpoint_every": 3}
    running = pair[1].serve(port=0, **options)
    address = f"grpc://{running.target}"

    def restart():
        nonlocal running
        running.stop(0)
        # A process of its own, which knows nothing but its checkpoint.
        running = halves()[1].serve(port=running.port, **options)

    found = fit(pair, SplitStrategy(address, reuse=True), restart)
    body = running_body(running)
    running.stop(0)

    assert found[1] == expected[1]
    ours = nets.values_of(pair[0]) + body
    for a, b in zip(ours, expected[2], strict=True):
        assert a.tobytes() == b.tobytes()
    first, second, third = found[0]
    assert second > 0.9 * first
    assert third <= 0.05 * first


@pytest.mark.slow
def test_a_lost_connection_costs_no_row(serve):
    expected = fit(halves(), SplitStrategy())
    pair = halves()
    address = serve(pair[1]).address
    strategy = SplitStrategy(address, reuse=True, retry=Retry(give_up_s=30))

    found = fit(pair, strategy, strategy.session.connection.hang_up)

    check_same(found, expected)
    assert max(found[0][1:]) <= 0.05 * found[0][0]


@pytest.mark.slow
@pytest.mark.parametrize("rows", [0, 1, 40])
def test_a_server_that_keeps_little_is_right_all_the_same(serve, rows, caplog):
    expected = fit(halves(), SplitStrategy())
    pair = halves()
    row = 6 * 6 * 64 + 8
    limits = {"max_reuse_bytes": rows * (row + ENTRY_BYTES)}
    strategy = SplitStrategy(serve(pair[1], **limits).address, reuse=True)

    found = fit(pair, strategy)

    check_same(found, expected)
    assert min(found[0][1:]) > 0.3 * found[0][0]
    told = "keeps nothing" if rows == 0 else "More was sent than"
    assert told in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frozen": ()}, r"trains 'a/kernel'. Freeze all layers up to 'a'"),
        ({"rate": 0.5}, "draws random numbers"),
        (
            {"quantization": Quantization("int8", rounding="stochastic")},
            "stochastic rounding",
        ),
        (
            {"defenses": [keras_split.defenses.GaussianNoise(0.1)]},
            "the defense 'gaussian_noise' of smashed data",
        ),
    ],
)
def test_a_head_that_sends_something_else_each_time_is_refused(options, words):
    client, _ = halves(**options)
    client.compile("sgd", LOSS, strategy=SplitStrategy(reuse=True))

    with pytest.raises(OptionError, match=words):
        client.fit(*nets.images(BATCH), verbose=0)


def running_body(running):
    """Values of the body behind a server."""
    (body,) = running.endpoint.service._bodies
    return [np.array(value) for value in body.half.weights()]
