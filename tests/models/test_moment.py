"""Both halves know which moment of which training they are of."""

import logging
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import keras_split
from keras_split.client import snapshots
from keras_split.client.strategy import SplitStrategy
from keras_split.errors import DataError
from keras_split.errors import RefusedError
from keras_split.protocol.moment import Moment
from tests import links

FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}
X, Y = links.batch(32)
ANOTHER_FUTURE = "Expected a body that has trained with this phone's half"


@pytest.fixture(scope="module")
def here():
    """Client and server in one process, after a step."""
    client, server = links.halves()
    links.compile(client)
    client.train_on_batch(X[:8], Y[:8])
    yield client, server
    client.close()


@pytest.fixture(scope="module")
def served():
    """A client, its server behind gRPC, and the address."""
    with links.served() as made:
        yield made


def reach(client, address, **options):
    """A client with a way to the server, and no session yet."""
    links.compile(client)
    strategy = SplitStrategy(address, retry=None, **options)
    client.compile("sgd", client.loss, metrics=["accuracy"], strategy=strategy)
    return client


def warned(caplog, text):
    return [r.message for r in caplog.records if text in r.message]


def test_a_half_that_never_trained_has_none():
    client, server = links.halves()
    links.compile(client).predict(X, verbose=0)

    assert not client.moment and not server.moment


def test_both_halves_move_together_in_one_graph(here):
    client, server = here
    before = client.moment

    client.fit(X, Y, epochs=2, **FIT)

    assert before.run and before.steps >= 1
    assert client.moment == server.moment
    assert client.moment == Moment(before.run, before.steps + 8)


def test_a_step_that_is_not_taken_moves_neither(here):
    client, server = here
    before = client.moment

    client.train_on_batch(X[:8], Y[:8], np.full(8, np.inf))

    assert client.moment == server.moment == before


@pytest.mark.parametrize(
    "options",
    [{}, {"microbatches": 2}, {"overlap": True}, {"overlap": False}],
)
def test_both_halves_move_together_over_a_network(served, options):
    client, server, address = served
    before = server.moment
    reach(client, address, **options)

    client.fit(X, Y, **FIT)

    assert client.moment == server.moment
    assert server.moment.steps == before.steps + 4
    assert before.run in ("", server.moment.run)


def test_both_halves_of_a_model_that_is_cut_once_move_together():
    client, server = links.halves(cut=["first"])
    links.compile(client)

    client.fit(X, Y, **FIT)

    assert client.moment == server.moment
    assert client.moment.steps == 4


def test_a_client_is_of_its_own_last_step(served):
    client, server, address = served
    other = reach(links.halves()[0], address)
    reach(client, address).train_on_batch(X[:8], Y[:8])
    mine = client.moment

    other.train_on_batch(X[:8], Y[:8])
    other.close()

    assert client.moment == mine
    assert server.moment == other.moment == Moment(mine.run, mine.steps + 1)


def test_steps_of_two_clients_at_once_are_told_apart(served):
    client, server, address = served
    clients = [reach(client, address), reach(links.halves()[0], address)]
    before, found = server.moment.steps, []

    class Notes(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            found.append(self.model.moment)

    def fit(client):
        client.fit(X, Y, callbacks=[Notes()], **FIT)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fit, clients))
    clients[1].close()

    steps = sorted(moment.steps for moment in found)
    assert steps == [*range(before + 1, before + 9)]


def test_weights_alone_remember_it_too(here, tmp_path):
    client, server = here
    client.close()  # else the file names a snapshot, which the fresh one lacks
    for half in (client, server):
        half.save_weights(tmp_path / "half.weights.h5")
        fresh = links.halves()[half is server]

        fresh.load_weights(tmp_path / "half.weights.h5")

        assert fresh.moment == half.moment


def test_a_file_of_an_averaged_body_is_read(tmp_path):
    _, server = links.halves()
    server.timeline = server.timeline.stepped().averaged([Moment("ab", 3)])
    server.save(tmp_path / "server.keras")
    server.save_weights(tmp_path / "server.weights.h5")

    read = keras_split.load_model(tmp_path / "server.keras")
    _, other = links.halves()
    other.load_weights(tmp_path / "server.weights.h5")

    for found in (read.timeline, other.timeline):
        assert found == server.timeline.copy()
        assert (found.learned, found.averages) == (1, 1)


def test_futures_of_one_file_are_told_apart(here, tmp_path):
    _, server = here
    server.save(tmp_path / "server.keras")
    futures = [server.moment]
    for _ in range(2):
        client, _ = links.halves()
        copy = keras_split.load_model(tmp_path / "server.keras")
        assert copy.moment == server.moment
        with copy.serve(port=0) as running:
            reach(client, f"grpc://{running.target}")
            client.train_on_batch(X[:8], Y[:8])
            client.close()
        assert client.moment == copy.moment
        futures.append(copy.moment)

    assert len({moment.run for moment in futures}) == 3
    assert futures[1].steps == futures[0].steps + 1


def test_a_body_that_goes_back_begins_another_run(here):
    client, server = here
    client.connect()
    weights, then = client.get_weights(), client.moment
    client.fit(X, Y, **FIT)
    later = client.moment

    client.set_weights(weights)

    assert client.moment == server.moment == then
    client.fit(X, Y, **FIT)
    assert client.moment == server.moment
    assert client.moment.steps == later.steps
    assert client.moment.run != later.run


def test_the_best_weights_of_early_stopping_are_one_model(here):
    client, server = here
    stop = keras.callbacks.EarlyStopping(
        "loss", min_delta=1e9, patience=0, restore_best_weights=True
    )
    before = client.moment.steps

    client.fit(X, Y, epochs=3, callbacks=[stop], **FIT)

    assert client.moment == server.moment
    assert client.moment.steps == before + 4


def test_weights_that_somebody_sets_are_of_no_known_moment(here):
    _, server = here
    before, weights = server.moment, server.get_weights()

    server.set_weights(weights)

    assert server.moment.steps == before.steps
    assert server.moment.run != before.run


@pytest.mark.parametrize(
    "name",
    [pytest.param("best.keras", marks=pytest.mark.slow), "best.weights.h5"],
)
def test_an_old_file_of_model_checkpoint_is_brought_back(
    served, tmp_path, caplog, name
):
    client, server, address = served
    reach(client, address)
    path = tmp_path / name
    keep = keras.callbacks.ModelCheckpoint(
        path,
        "val_loss",
        save_best_only=True,
        save_weights_only=name != "best.keras",
    )
    data = {"validation_data": (X, Y), "validation_batch_size": 8}
    logged = client.fit(X, Y, callbacks=[keep], **data, **FIT)
    logged = [logged.history[k][0] for k in ("val_loss", "val_accuracy")]
    then = client.moment
    client.fit(X, Y, epochs=3, **FIT)
    client.close()
    later = server.moment
    caplog.clear()

    def evaluated(half):
        half.close()
        return half.evaluate(X, Y, batch_size=8, verbose=0)

    if name == "best.keras":
        old = keras_split.load_model(path)
        today = evaluated(old)
        (line,) = warned(caplog, "This half is of")
        assert str(then) in line and str(later) in line
        assert abs(today[0] - logged[0]) > 1e-3
        caplog.clear()
        back = keras_split.load_model(path, restore_body=True)
    else:
        back = reach(links.halves()[0], address)
        back.load_weights(path)

    assert back.moment == server.moment == then
    assert evaluated(back) == pytest.approx(logged, abs=1e-6)
    assert not warned(caplog, "half")
    back.close()


def test_a_file_without_a_snapshot_says_so(here, tmp_path):
    client, _ = here
    client.close()
    client.save(tmp_path / "client.keras")

    with pytest.raises(DataError, match="names a snapshot"):
        keras_split.load_model(tmp_path / "client.keras", restore_body=True)


def test_a_snapshot_that_is_gone_says_so_and_a_server_has_none(
    served, tmp_path
):
    client, server, address = served
    reach(client, address).fit(X, Y, **FIT)
    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")
    snapshots.release(client.strategy.session, client.snapshot_tag)
    client.close()

    with pytest.raises(RefusedError, match="the tag of a snapshot"):
        keras_split.load_model(tmp_path / "client.keras", restore_body=True)
    with pytest.raises(DataError, match="a client's file"):
        keras_split.load_model(tmp_path / "server.keras", restore_body=True)


def test_a_body_of_another_training_is_told_aloud(served, here, caplog):
    stranger, _ = here
    client, server, address = served
    reach(client, address).train_on_batch(X[:8], Y[:8])
    client.close()
    moment = stranger.moment
    caplog.set_level(logging.WARNING)

    reach(stranger, address).evaluate(X, Y, verbose=0)

    (line,) = warned(caplog, ANOTHER_FUTURE)
    assert str(moment) in line and str(server.moment) in line
    assert "--checkpoints" in line and not warned(caplog, "This half is of")
    caplog.clear()
    stranger.fit(X, Y, **FIT)  # and it may go on
    stranger.close()
    assert stranger.moment == server.moment
    stranger.evaluate(X, Y, verbose=0)
    assert not warned(caplog, "half")
    stranger.close()


def test_training_on_where_others_went_on_is_nothing_to_be_told(served, caplog):
    client, _, address = served
    reach(client, address).train_on_batch(X[:8], Y[:8])
    client.close()
    other = reach(links.halves()[0], address)
    other.train_on_batch(X[:8], Y[:8])
    other.close()

    client.fit(X, Y, validation_data=(X, Y), **FIT)

    assert not warned(caplog, "half")


def test_a_server_that_says_no_moment_leaves_the_client_with_none(here):
    client, _ = here
    client.connect()

    client.strategy.session.connection.stepped(Moment())

    assert not client.moment
