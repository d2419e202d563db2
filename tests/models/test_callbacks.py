"""Stock Keras callbacks over gRPC; each must mean both halves."""

import contextlib
import csv
import functools

import keras
import numpy as np
import pytest

import keras_split
from keras_split.client import snapshots
from keras_split.client.strategy import SplitStrategy
from tests import links
from tests import nets

EPOCHS = 5


class Diary(keras.callbacks.Callback):
    """Keeps what both halves were at the end of each epoch."""

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(both(self.model, self.server))


class Spoil(keras.callbacks.Callback):
    """Makes training fail by a learning rate that is far too high."""

    def __init__(self, epoch, rate=50.0):
        super().__init__()
        self.epoch = epoch
        self.rate = rate

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= self.epoch:
            self.model.optimizer.learning_rate = self.rate


class Interrupted(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    """Fails in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch
        self.now = -1

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 1:
            raise Interrupted


def both(client, server):
    """Weights of the phone's half, and of the server's."""
    mine = [np.array(v) for v in client.weights]
    return mine, links.state(server)


def fit(client, epochs=EPOCHS, **options):
    """Four batches an epoch, always in the same order."""
    return client.fit(
        *links.batch(32),
        batch_size=8,
        epochs=epochs,
        validation_data=links.batch(24, seed=1),
        shuffle=False,
        verbose=0,
        **options,
    )


def evaluate(client):
    return client.evaluate(
        *links.batch(24, seed=1), batch_size=8, verbose=0, return_dict=True
    )


def finite(arrays):
    return all(np.isfinite(array).all() for array in arrays)


def assert_both(received, expected):
    for half, same in zip(received, expected, strict=True):
        assert links.same(half, same)


@contextlib.contextmanager
def renewable(optimizer, quantization="int8", activation="relu"):
    """Makes a link; yields what brings it back to how it was at first.

    Tracing takes most of a test's time, and the graphs stay.
    """
    with links.served(quantization, activation) as (client, server, address):
        links.compile(client, optimizer, address)
        variables = [*client.variables, *server.body.variables]
        values = [np.array(v) for v in variables]

        def renew(rate):
            client.close()  # a session's optimizer slots end with it
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            for variable in client.optimizer.variables:
                variable.assign(np.zeros_like(variable))
            client.optimizer.learning_rate = rate
            return client, server

        yield renew


@pytest.fixture(scope="module")
def traced():
    with renewable(keras.optimizers.SGD()) as renew:
        yield renew


@pytest.fixture
def link(traced):
    """A client that trains over gRPC, and the server's model."""
    return traced(rate=0.1)


@pytest.fixture(scope="module", params=["SGD", "Adam"])
def diverging(request):
    with renewable(getattr(keras.optimizers, request.param)()) as renew:
        yield renew


def test_early_stopping_restores_the_best_epoch_of_both_halves(link):
    client, server = link
    diary = Diary(server)
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=2, restore_best_weights=True
    )

    history = fit(client, 9, callbacks=[diary, Spoil(3), stopping]).history
    score = evaluate(client)

    best = int(np.argmin(history["val_loss"]))
    assert 0 < best < len(history["val_loss"]) - 1
    assert len(history["val_loss"]) == best + 3
    assert score["loss"] == history["val_loss"][best]
    assert score["accuracy"] == history["val_accuracy"][best]
    assert_both(both(client, server), diary.epochs[best])


@pytest.mark.slow
def test_early_stopping_leaves_one_snapshot_at_the_server(tmp_path):
    with links.served(snapshots=tmp_path) as (client, _, address):
        links.compile(client, address=address)
        stopping = keras.callbacks.EarlyStopping(
            "loss", patience=9, restore_best_weights=True
        )

        fit(client, 4, callbacks=[stopping])
        client.evaluate(*links.batch(8), verbose=0)

        assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("best_only", [True, False])
@pytest.mark.parametrize("name", ["saved.weights.h5", "saved.keras"])
def test_a_model_checkpoint_brings_back_both_halves(
    link, tmp_path, name, best_only
):
    client, server = link
    diary = Diary(server)
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / name,
        "val_loss",
        save_best_only=best_only,
        save_weights_only=name.endswith(".h5"),
    )

    history = fit(client, callbacks=[diary, Spoil(3), checkpoint]).history
    fit(client, 1)
    client.load_weights(tmp_path / name)

    losses = history["val_loss"]
    saved = int(np.argmin(losses)) if best_only else EPOCHS - 1
    assert saved == EPOCHS - 1 or best_only
    assert evaluate(client)["loss"] == losses[saved]
    assert_both(both(client, server), diary.epochs[saved])


@pytest.mark.parametrize(
    "name",
    [pytest.param("saved.weights.h5", marks=pytest.mark.slow), "saved.keras"],
)
def test_a_model_checkpoint_brings_back_both_halves_to_a_new_client(
    link, tmp_path, name
):
    client, server = link
    path = tmp_path / name
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, save_weights_only=name.endswith(".h5")
    )
    history = fit(client, 2, callbacks=[checkpoint]).history
    saved = both(client, server)
    address = client.strategy.address
    fit(client, 1)
    client.close()

    again, _ = links.halves(str(client.contract.quantization), seed=7)
    links.compile(again, address=address)
    again.load_weights(path)

    assert_both(both(again, server), saved)
    assert evaluate(again)["loss"] == history["val_loss"][-1]
    again.close()


def test_a_checkpointed_model_is_loaded_with_its_server(link, tmp_path):
    client, server = link
    path = tmp_path / "saved.keras"
    history = fit(
        client, 2, callbacks=[keras.callbacks.ModelCheckpoint(path)]
    ).history
    saved = both(client, server)
    fit(client, 1)
    client.close()

    again = keras.saving.load_model(path)
    again.load_weights(path)

    assert again.strategy.address == client.strategy.address
    assert_both(both(again, server), saved)
    assert evaluate(again)["loss"] == history["val_loss"][-1]
    again.close()


def test_checkpoints_of_many_epochs_can_all_be_loaded(link, tmp_path):
    client, server = link
    diary = Diary(server)
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.weights.h5", save_weights_only=True
    )

    fit(client, 3, callbacks=[diary, checkpoint])

    for epoch in (2, 0, 1):
        client.load_weights(tmp_path / f"{epoch + 1}.weights.h5")
        assert_both(both(client, server), diary.epochs[epoch])


@functools.cache
def uninterrupted():
    """Both halves and both halves' slots after four epochs in one go."""
    with links.served() as (client, server, address):
        links.compile(client, momentum(), address)
        fit(client, 4)
        return trained_state(client, server)


def trained_state(client, server):
    slots = [np.array(v) for v in client.optimizer.variables]
    [shared] = server.half.optimizers._steps.values()
    return *both(client, server), slots, shared.owner.weights()


def unsplit(optimizer, callbacks=()):
    """The same training without a split; weights by name."""
    model = links.net()
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = fit(model, callbacks=list(callbacks)).history
    return {v.path: np.array(v) for v in model.weights}, history


def steer(make_optimizer, make_callbacks=lambda: []):
    """Trains split over gRPC and unsplit; asserts that both learned the same.

    Returns:
        The learning rates that Keras logged.
    """
    expected, history = unsplit(make_optimizer(), make_callbacks())
    with links.served() as (client, server, address):
        links.compile(client, make_optimizer(), address)
        split = fit(client, callbacks=make_callbacks()).history
        variables = [*client.weights, *server.body.weights]
        received = {v.path: np.array(v) for v in variables}

    assert received.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(received[name], value, atol=1e-6)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(split[name], history[name], rtol=1e-5)
    return split.get("learning_rate")


def momentum(rate=0.05):
    return keras.optimizers.SGD(rate, momentum=0.9)


@pytest.mark.slow
def test_reduce_lr_on_plateau_steers_both_halves():
    rates = steer(
        momentum,
        lambda: [
            keras.callbacks.ReduceLROnPlateau(
                "loss", factor=0.1, patience=1, min_delta=10.0
            )
        ],
    )

    np.testing.assert_allclose(rates, [5e-2, 5e-2, 5e-3, 5e-4, 5e-5])


@pytest.mark.slow
def test_a_learning_rate_scheduler_steers_both_halves():
    rates = steer(
        momentum,
        lambda: [
            keras.callbacks.LearningRateScheduler(
                lambda epoch: [0.05, 0.1, 0.0, 0.02, 0.01][epoch]
            )
        ],
    )

    np.testing.assert_allclose(rates, [0.05, 0.1, 0.0, 0.02, 0.01])


@pytest.mark.slow
def test_a_learning_rate_schedule_steers_both_halves():
    steer(
        lambda: momentum(
            keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
        )
    )


def test_csv_logger_writes_what_the_history_has(link, tmp_path):
    client, _ = link
    path = tmp_path / "log.csv"

    history = fit(client, 2, callbacks=[keras.callbacks.CSVLogger(path)])

    with path.open() as file:
        rows = list(csv.DictReader(file))
    names = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert set(rows[0]) == names
    for name in names - {"epoch"}:
        logged = [float(row[name]) for row in rows]
        assert logged == pytest.approx(history.history[name])


def test_tensorboard_writes_its_files(link, tmp_path):
    client, server = link
    before = links.state(server)
    pytest.importorskip("tensorboard")
    board = keras.callbacks.TensorBoard(
        tmp_path, histogram_freq=1, write_graph=True, update_freq="batch"
    )

    fit(client, 2, callbacks=[board])

    for folder in ("train", "validation"):
        [events] = (tmp_path / folder).glob("events.out.tfevents.*")
        content = events.read_bytes()
        assert b"epoch_loss" in content and b"epoch_accuracy" in content
    train = b"".join(
        path.read_bytes() for path in (tmp_path / "train").iterdir()
    )
    assert b"first/kernel/histogram" in train
    assert not links.same(links.state(server), before)


@pytest.mark.slow
@pytest.mark.parametrize("double", [True, False])
def test_backup_and_restore_goes_on_as_if_nothing_had_happened(
    tmp_path, double
):
    backup = keras.callbacks.BackupAndRestore(
        tmp_path, double_checkpoint=double
    )
    with links.served() as (client, server, address):
        links.compile(client, momentum(), address)
        with pytest.raises(Interrupted):
            fit(client, 4, callbacks=[backup, Interrupt(2)])
        client.close()
        client, _ = links.halves(seed=5)
        links.compile(client, momentum(), address)

        epochs = fit(client, 4, callbacks=[backup]).epoch

        resumed = trained_state(client, server)
    assert epochs == [2, 3]
    for one, other in zip(resumed, uninterrupted(), strict=True):
        assert links.same(one, other)


def fit_broken(client, value, epochs=3):
    """The third of four batches holds a value that is not finite."""
    x, y = links.batch(32)
    x[17, 3, 3] = value
    return client.fit(
        x,
        y,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN()],
    )


@pytest.fixture(scope="module", params=["float32", "int8"])
def through(request):
    """NaN passes this one's activation, and a ReLU would make zeros of it."""
    with renewable(keras.optimizers.SGD(), request.param, "elu") as renew:
        yield renew


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_terminate_on_nan_stops_before_a_broken_batch(through, value):
    x, y = links.batch(16)
    client, server = through(rate=0.1)
    client.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    expected = both(client, server)
    client, server = through(rate=0.1)

    history = fit_broken(client, value)

    assert len(history.epoch) == 1
    assert np.isnan(history.history["loss"][0])
    assert client.optimizer.iterations == 2
    assert_both(both(client, server), expected)


def test_terminate_on_nan_sees_a_nan_that_only_the_gradient_shows(link):
    """A ReLU makes zeros of NaN; the gradient of the kernel before it is NaN.

    Then the server has made its step, with finite numbers, when the phone
    finds out and leaves its own step undone.
    """
    client, server = link

    history = fit_broken(client, np.nan)

    assert len(history.epoch) == 1
    assert np.isnan(history.history["loss"][0])
    assert client.optimizer.iterations == 2
    assert all(finite(half) for half in both(client, server))


@pytest.mark.parametrize("broken", ["y", "sample_weight"])
def test_terminate_on_nan_stops_before_labels_that_are_broken(broken):
    x, y = links.batch(24)
    given = {"y": keras.utils.to_categorical(y), "sample_weight": np.ones(24)}
    given[broken][10] = np.nan
    with links.served() as (client, server, address):
        client.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.CategoricalCrossentropy(from_logits=True),
            strategy=SplitStrategy(address),
        )

        history = client.fit(
            x,
            **given,
            batch_size=8,
            epochs=3,
            shuffle=False,
            verbose=0,
            callbacks=[keras.callbacks.TerminateOnNaN()],
        )

        assert len(history.epoch) == 1
        assert client.optimizer.iterations == 1
        assert all(finite(half) for half in both(client, server))


@pytest.mark.slow
@pytest.mark.parametrize(
    "rate", [1e2, pytest.param(1e3, marks=pytest.mark.long)]
)
def test_terminate_on_nan_stops_a_divergence(diverging, rate):
    client, server = diverging(rate)

    history = fit(client, 20, callbacks=[keras.callbacks.TerminateOnNaN()])

    assert all(finite(half) for half in both(client, server))
    assert len(history.epoch) < 20 or np.isfinite(history.history["loss"][-1])


@pytest.mark.slow
def test_without_terminate_on_nan_a_broken_batch_is_left_out(link):
    client, server = link
    x, y = links.batch(32)
    x[9] = np.nan

    history = client.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    score = evaluate(client)

    assert np.isnan(history.history["loss"][0])
    assert np.isfinite(score["loss"])
    assert client.optimizer.iterations == 3
    assert all(finite(half) for half in both(client, server))


def test_weights_in_a_list_outlast_any_number_of_files():
    model = nets.dense()
    client, server = keras_split.compile(model, ["a", "b"])
    client.compile("sgd", "mse")
    client.connect()
    held = client.get_weights()
    before = both(client, server)
    x, y = np.ones((4, 4), "float32"), np.ones((4, 3), "float32")
    client.fit(x, y, verbose=0)

    for _ in range(70):  # what files name
        snapshots.take(client.strategy.session)
    client.set_weights(held)

    assert_both(both(client, server), before)
    client.close()
