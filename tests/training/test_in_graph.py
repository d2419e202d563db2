"""Both halves of a step as one graph: the same numbers, bit for bit."""

import keras
import numpy as np
import pytest

import keras_split
from keras_split.client.strategy import SplitStrategy
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.errors import RefusedError
from keras_split.server.storage.checkpointer import Checkpointer
from tests import links


class Called(SplitStrategy):
    """A strategy of its own, which the graph has to call."""

    def forward(self, smashed):
        return super().forward(smashed)


def adam():
    return keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5),
        name="adam",  # it travels in the Hello
    )


def trained(strategy, quantization="int8", optimizer=adam, size=26, **options):
    """A client and a server that saw batches of 8, and of what is left."""
    client, server = links.halves(quantization, activation="elu")
    client.compile(
        optimizer(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=strategy,
        **options,
    )
    fit(client, *links.batch(size))
    return client, server


def fit(client, x, y, **options):
    options = {"batch_size": 8, "epochs": 2, "shuffle": False} | options
    return client.fit(x, y, verbose=0, **options)


def weights(client, server):
    own = client.head.variables + client.tail.variables
    return [np.array(v) for v in own] + links.state(server)


def state(client, server):
    [shared] = server.half.optimizers._steps.values()
    return (
        weights(client, server)
        + [np.array(v) for v in client.optimizer.variables]
        + shared.owner.weights()
    )


def joins(client):
    return client._server_link.in_graph_body is not None


BY_CHANNEL = Quantization(Rule("int8", "channel"), Rule("int4", "tensor"))


@pytest.mark.parametrize(
    ("quantization", "steps_per_execution"),
    [
        ("int8", 3),
        pytest.param("float32", 1, marks=pytest.mark.slow),
        pytest.param(BY_CHANNEL, 1, marks=pytest.mark.slow),
    ],
)
def test_it_does_what_messages_do_bit_for_bit(
    quantization, steps_per_execution
):
    options = {"steps_per_execution": steps_per_execution}
    apart = trained(Called(), quantization, **options)

    joint = trained(SplitStrategy(), quantization, **options)

    assert joins(joint[0]) and not joins(apart[0])
    assert links.same(state(*joint), state(*apart))
    for name in ("next_step", "uplink_bytes", "downlink_bytes"):
        assert getattr(joint[0].strategy, name) == getattr(
            apart[0].strategy, name
        )


@pytest.mark.slow
def test_batches_of_which_the_size_is_known_are_the_same_bits_too():
    apart, joint = trained(Called()), trained(SplitStrategy())

    for size in (6, 8, 5):
        for client, _ in (apart, joint):
            client.train_on_batch(*links.batch(size))

    assert links.same(state(*joint), state(*apart))


@pytest.mark.slow
def test_batches_of_which_the_size_is_known_first_are_the_same_bits_too():
    strategies = (Called(), SplitStrategy())
    pairs = [links.halves("int8") for _ in strategies]

    for (client, _), strategy in zip(pairs, strategies, strict=True):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        client.compile(adam(), loss, strategy=strategy)
        for size in (6, 5, 6):
            client.train_on_batch(*links.batch(size))
        fit(client, *links.batch(26))

    assert links.same(state(*pairs[0]), state(*pairs[1]))


@pytest.mark.slow
def test_mixed_precision_is_the_same_bits_too():
    keras.config.set_dtype_policy("mixed_float16")
    apart = trained(Called(), "float16")

    joint = trained(SplitStrategy(), "float16")

    assert joins(joint[0])
    assert links.same(state(*joint), state(*apart))


def test_a_batch_that_is_not_finite_moves_nothing():
    client, server = trained(SplitStrategy())
    before = state(client, server)
    x, y = links.batch(8)
    x[3] = np.nan

    history = fit(client, x, y, epochs=1)

    assert joins(client)
    assert np.isnan(history.history["loss"][0])
    assert links.same(state(client, server), before)
    assert client.strategy.next_step == 8


@pytest.mark.parametrize("limit", ["max_grad_norm", "max_smashed_norm"])
def test_what_is_above_a_norm_is_refused(limit, caplog):
    client, server = links.halves()
    client._server_link._host = server.host(**{limit: 1e-6})
    links.compile(client)

    history = fit(client, *links.batch(8), epochs=1)

    assert joins(client)
    assert "norm of at most 1e-06" in caplog.text
    assert np.isnan(history.history["loss"][0])
    assert client.strategy.next_step == 0


def test_a_train_step_of_ones_own_gets_messages():
    class Own(keras_split.ClientModel):
        def train_step(self, data):
            steps.append(data)
            return super().train_step(data)

    steps = []
    client, server = links.halves()
    own = Own(client.head, client.tail, client.contract, client.wiring)
    own._server_link.server = server
    links.compile(own)

    own.train_on_batch(*links.batch(8))

    assert steps and not joins(own)


def test_a_server_that_clips_gets_messages():
    client, server = links.halves()
    client._server_link._host = server.host(clip_grad_norm=1.0)
    links.compile(client)

    client.train_on_batch(*links.batch(8))

    assert not joins(client)


def test_a_learning_rate_that_is_none_is_refused():
    client, server = trained(SplitStrategy(), optimizer=keras.optimizers.SGD)
    before = weights(client, server)
    client.optimizer.learning_rate = -1.0

    with pytest.raises(RefusedError, match="learning rate of 0 or more"):
        client.train_on_batch(*links.batch(8))

    assert links.same(weights(client, server), before)


@pytest.mark.slow
def test_it_takes_turns_with_a_client_over_grpc():
    ends = []
    for strategy in (Called(), SplitStrategy()):
        client, server = trained(strategy, size=16)
        other, _ = links.halves("int8", activation="elu")
        with server.serve(port=0) as running:
            links.compile(other, adam(), f"grpc://{running.target}")
            fit(other, *links.batch(16))
            fit(client, *links.batch(16))
            fit(other, *links.batch(16), epochs=1)
            other.close()
        steps = client.strategy.next_step, other.strategy.next_step
        ends.append((weights(client, server), weights(other, server), steps))

    assert joins(client) and not joins(other)
    assert links.same(ends[0][0], ends[1][0])
    assert links.same(ends[0][1], ends[1][1])
    assert ends[0][2] == ends[1][2] == (8, 6)


def test_a_nan_that_only_the_gradient_shows_is_the_same_too():
    """Zeros are made of NaN: the body's step is taken, the phone's not.

    Some CPUs' ReLU does that, too.
    """
    ends = []
    for strategy in (Called(), SplitStrategy()):
        client, server = links.halves(activation="hard_shrink")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        client.compile(keras.optimizers.SGD(0.1), loss, strategy=strategy)
        x, y = links.batch(24)
        before = links.state(server)
        x[9, 3, 3] = np.nan
        fit(client, x, y, epochs=1, batch_size=8)
        assert all(np.isfinite(w).all() for w in weights(client, server))
        steps = client.strategy.next_step, int(client.optimizer.iterations)
        assert not links.same(links.state(server), before)
        ends.append((weights(client, server), steps))

    assert joins(client)
    assert links.same(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1] == (3, 2)


@pytest.mark.slow
def test_a_new_session_goes_on_in_the_same_graph():
    client, _ = trained(SplitStrategy())
    before = client._server_link.in_graph_body

    client.close()
    fit(client, *links.batch(8))

    assert client._server_link.in_graph_body is before
    assert client.strategy.next_step == 2


@pytest.mark.slow
def test_a_session_that_the_server_forgot_is_an_error():
    client, _ = trained(SplitStrategy())
    host = client._server_link.host()

    class Forget(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            host.close(client.strategy.session.connection.session)

    with pytest.raises(RefusedError, match="a session that is open"):
        fit(client, *links.batch(16), callbacks=[Forget()])

    assert not client.strategy.connected


@pytest.mark.slow
def test_what_outlives_the_server_counts_as_it_does_in_messages(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(Checkpointer, "durable_steps", lambda *_: 300)
    counted = []
    for strategy in (Called(), SplitStrategy()):
        client, server = links.halves("int8")
        folder = tmp_path / str(len(counted))
        client._server_link._host = server.host(checkpoints=folder)
        client.compile("sgd", "mse", strategy=strategy)
        x, y = links.batch(16)
        fit(client, x, np.eye(3, dtype="float32")[y], epochs=1)
        counted.append((strategy.uplink_bytes, strategy.downlink_bytes))
        assert joins(client) == (len(counted) == 2)

    assert counted[0] == counted[1]
