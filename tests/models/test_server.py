import keras
import numpy as np
import pytest

import keras_split
from keras_split.client.strategy import SplitStrategy
from keras_split.client.tap import SessionTap
from keras_split.errors import OptionError
from keras_split.models import ServerModel
from keras_split.protocol.data_spec import DataSpec
from keras_split.protocol.moment import Moment
from tests import links
from tests import nets

LOSS = "sparse_categorical_crossentropy"
DATA = nets.vectors()


def adam():
    return keras.optimizers.Adam(0.05)


def halves(cut=("a", "b")):
    model = nets.built(nets.dense)
    return keras_split.compile(model, list(cut), quantization="float32")


def fitted(client, server, epochs=1):
    """Trains over gRPC."""
    with server.serve(port=0) as running:
        strategy = SplitStrategy(f"grpc://{running.target}")
        client.compile(adam(), LOSS, strategy=strategy)
        log = client.fit(
            *DATA, batch_size=8, epochs=epochs, shuffle=False, verbose=0
        )
        client.close()
    return log.history["loss"]


def whole():
    model = nets.built(nets.dense)
    model.compile(adam(), LOSS)
    model.fit(*DATA, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize(
    "grpc", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_a_model_cut_once_trains_with_an_optimizer_of_the_server(grpc):
    expected = nets.values_of(whole())
    client, server = halves(("a",))
    server.compile(adam())

    if grpc:
        fitted(client, server, epochs=2)
    else:
        client.compile(keras.optimizers.Adam(0.05), LOSS)
        client.fit(*DATA, batch_size=8, epochs=2, shuffle=False, verbose=0)

    found = [np.array(v) for v in [*client.head.variables]]
    found += [np.array(v) for v in server.body.variables]
    assert nets.largest_difference(expected, found) < 1e-6


@pytest.mark.slow
def test_sessions_of_other_losses_share_the_slots_of_the_server():
    client, server = halves(("a",))
    other, _ = halves(("a",))
    server.compile(adam())
    with server.serve(port=0) as running:
        for phone, loss in ((client, LOSS), (other, "mean_squared_error")):
            strategy = SplitStrategy(f"grpc://{running.target}")
            phone.compile(adam(), loss, strategy=strategy)
            x, y = DATA
            y = y if loss == LOSS else np.eye(3, dtype="float32")[y]
            phone.fit(x, y, batch_size=8, verbose=0)
            phone.close()

    steps = 2 * -(-len(DATA[0]) // 8)
    assert int(server.optimizer.iterations) == steps


def test_a_compiled_server_comes_back_from_a_file_with_its_slots(tmp_path):
    client, server = halves()
    server.compile(adam())
    fitted(client, server)
    server.save(tmp_path / "server.keras")

    loaded = keras.saving.load_model(tmp_path / "server.keras")

    assert isinstance(loaded, ServerModel)
    kept = [np.array(v) for v in server.optimizer.variables]
    found = [np.array(v) for v in loaded.optimizer.variables]
    assert nets.largest_difference(kept, found) == 0
    assert np.isfinite(fitted(client, loaded)[-1])
    assert int(loaded.optimizer.iterations) == 2 * int(kept[0])


def test_a_server_may_have_a_schedule_though_the_rate_travels():
    client, server = halves()
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-9, 1, 0.5)
    server.compile(keras.optimizers.Adam(schedule))

    fitted(client, server, epochs=2)

    found = [np.array(v) for v in server.body.variables]
    expected = [np.array(v) for v in whole().get_layer("b").variables]
    assert nets.largest_difference(expected, found) < 1e-6


def test_both_halves_remember_their_moment_and_their_data(tmp_path):
    client, server = halves()
    client.moment = server.moment = Moment("ab" * 16, 7)
    client.data_spec = DataSpec(("cat", "dog", "fox"), 0.5 * np.eye(4))

    for half in (client, server):
        half.save(tmp_path / "half.keras")
        again = keras_split.load_model(tmp_path / "half.keras")
        assert again.moment == half.moment
        if half is client:
            assert again.data_spec == client.data_spec


def test_an_own_learning_rate_stays_whatever_the_client_says(tmp_path):
    ends = []
    for near in (True, False):  # one graph, and messages
        client, server = links.halves()
        server.compile(keras.optimizers.SGD(0.0), own_learning_rate=True)
        strategy = SplitStrategy(taps=() if near else [SessionTap()])
        links.compile(client)
        client.compile("sgd", client.loss, strategy=strategy)
        before = [np.array(v) for v in server.body.trainable_variables]
        client.train_on_batch(*links.batch(8))
        ends.append([np.array(v) for v in server.body.trainable_variables])

        assert links.same(before, ends[-1])
    server.save(tmp_path / "server.keras")
    loaded = keras_split.load_model(tmp_path / "server.keras")
    assert loaded.own_learning_rate
    assert float(loaded.optimizer.learning_rate) == 0


def test_an_own_schedule_goes_on_with_the_steps_of_the_body():
    client, server = links.halves()
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [1], [0.1, 0.0]
    )
    server.compile(keras.optimizers.SGD(schedule), own_learning_rate=True)
    links.compile(client)
    weights = server.body.trainable_variables

    ends = []
    for _ in range(3):
        client.train_on_batch(*links.batch(8))
        ends.append([np.array(v) for v in weights])

    assert not links.same(ends[0], ends[1])  # a step at a boundary is before it
    assert links.same(ends[1], ends[2])


def test_an_own_learning_rate_is_not_that_of_an_old_checkpoint(tmp_path):
    rates = []
    for rate in (0.5, 0.25):
        _, server = links.halves()
        server.compile(keras.optimizers.SGD(rate), own_learning_rate=True)
        host = server.host(checkpoints=tmp_path)
        welcome = host.handle(links.hello(server.contract))
        links.take_step(host.handle, welcome.session, server.contract)
        host.close_all()
        rates.append(float(server.optimizer.learning_rate))

    assert rates == [0.5, 0.25]


def test_an_own_learning_rate_is_that_of_an_optimizer():
    _, server = links.halves()

    with pytest.raises(OptionError, match="own_learning_rate"):
        server.compile(own_learning_rate=True)


def trained_by(client, server):
    """Whether the body moved in a step."""
    before = [np.array(v) for v in server.body.trainable_variables]
    client.train_on_batch(*links.batch(8))
    return not links.same(before, server.body.trainable_variables)


@pytest.mark.parametrize("near", [True, False])
def test_a_server_may_be_compiled_when_it_has_trained(near, tmp_path):
    client, server = links.halves()
    strategy = SplitStrategy(taps=() if near else [SessionTap()])
    links.compile(client)
    client.compile("sgd", client.loss, strategy=strategy)
    assert trained_by(client, server)
    client.save_weights(tmp_path / "half.weights.h5")

    server.compile(keras.optimizers.SGD(0.0), own_learning_rate=True)

    assert not trained_by(client, server)
    # What it kept of the body is still there.
    client.load_weights(tmp_path / "half.weights.h5")


def test_a_server_of_labels_may_be_compiled_again():
    client, server = links.halves(cut=("first",))
    server.compile("sgd")
    links.compile(client)
    assert trained_by(client, server)

    server.compile(keras.optimizers.SGD(0.0), own_learning_rate=True)

    assert not trained_by(client, server)


def test_all_who_serve_a_body_have_the_slots_of_its_optimizer():
    _, server = links.halves()
    server.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    hosts = [server.host(), server.host()]
    names = [h.handle(links.hello(server.contract)).session for h in hosts]

    for step in range(2):
        for host, name in zip(hosts, names, strict=True):
            links.take_step(host.handle, name, server.contract, step)

    assert int(server.optimizer.iterations) == 4


def test_an_optimizer_of_the_server_leaves_what_was_frozen_meanwhile():
    client, server = links.halves()
    server.compile("sgd")
    links.compile(client)
    assert trained_by(client, server)
    layer = server.body.get_layer("middle")
    before = layer.get_weights()

    layer.trainable = False
    links.compile(client)

    assert trained_by(client, server)
    assert links.same(before, layer.get_weights())


def test_an_optimizer_of_the_server_is_not_of_fewer_weights():
    client, server = links.halves()
    server.body.get_layer("middle").trainable = False
    server.compile("sgd")
    links.compile(client)
    client.train_on_batch(*links.batch(8))
    server.body.get_layer("middle").trainable = True
    links.compile(client)

    with pytest.raises(OptionError, match="Compile the server with a new one"):
        client.train_on_batch(*links.batch(8))

    server.compile("sgd")
    assert trained_by(client, server)
