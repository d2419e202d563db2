"""Epsilon in the logs of a training, and its end."""

import dp_accounting
import keras
import numpy as np
import pytest

import keras_split
from keras_split.defenses import Accountant
from keras_split.defenses import Chain
from keras_split.defenses import GaussianMechanism
from keras_split.defenses import PrivacyBudget
from keras_split.errors import DefenseError
from keras_split.protocol.messages import Forward
from tests import nets
from tests.defenses.test_accountant import BOTH
from tests.defenses.test_accountant import multiplier


def client():
    half, _ = keras_split.compile(
        nets.dense(), ["a", "b"], defenses=[GaussianMechanism(1.0, 4.0, BOTH)]
    )
    half.compile("sgd", "sparse_categorical_crossentropy")
    return half


def fit(half, *callbacks, **options):
    x, y = nets.vectors(8)
    return half.fit(
        x, y, batch_size=4, verbose=0, callbacks=list(callbacks), **options
    )


class Killed(keras.callbacks.Callback):
    """Ends the process, as it were, in the middle of the third epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations.numpy()) == 5:
            raise KeyboardInterrupt


def test_epsilon_after_a_resumption_is_that_of_what_was_sent(tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    half = client()
    with pytest.raises(KeyboardInterrupt):
        fit(half, backup(), Killed(), PrivacyBudget(), epochs=4)

    resumed = fit(half, backup(), PrivacyBudget(), epochs=4)

    # Two epochs of both tensors before, and two more with the repeated one.
    events = dp_accounting.rdp.RdpAccountant()
    for spec in (*half.contract.smashed, *half.contract.features):
        noise = multiplier(4.0, spec.shape[0])
        events.compose(dp_accounting.GaussianDpEvent(noise), 4)
    found = resumed.history["epsilon"]
    assert found[-1] == pytest.approx(events.get_epsilon(1e-5), rel=1e-4)
    assert found == [Accountant(half).epsilon(n) for n in (3, 4)]


def test_a_training_ends_before_it_tells_too_much():
    half = client()
    limit = Accountant(half).epsilon(2) + 1e-6

    history = fit(half, PrivacyBudget(limit), epochs=5)

    assert len(history.history["epsilon"]) == 2
    with pytest.raises(DefenseError, match="one more epoch does not exceed"):
        fit(half, PrivacyBudget(limit))


def test_what_was_sent_in_shorter_epochs_can_be_said():
    history = fit(client(), PrivacyBudget(earlier=7))

    expected = Accountant(client()).epsilon(8)
    assert history.history["epsilon"] == [expected]


def test_a_budget_goes_on_from_what_it_has_counted():
    budget, half = PrivacyBudget(earlier=7), client()
    fit(half, budget)
    again = fit(half, budget)
    other = fit(client(), budget)

    epsilons = [one.history["epsilon"][-1] for one in (again, other)]
    assert epsilons == [Accountant(half).epsilon(n) for n in (9, 8)]


def test_an_optimizer_that_skips_steps_is_refused():
    half = client()
    half.compile(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
        "sparse_categorical_crossentropy",
    )

    with pytest.raises(DefenseError, match="takes every step"):
        fit(half, PrivacyBudget())


def test_a_step_that_was_not_taken_ends_the_training(tmp_path):
    # The next step would draw the same noise for other examples.
    half = client()
    x, y = nets.vectors(12)
    x[4] = np.nan

    with pytest.raises(DefenseError, match="a step that was not taken"):
        half.fit(
            *(x, y),
            batch_size=4,
            shuffle=False,
            verbose=0,
            callbacks=[PrivacyBudget()],
        )

    assert int(half.optimizer.iterations) == 1
    half.save(tmp_path / "half.keras")
    for each in (half, keras.saving.load_model(tmp_path / "half.keras")):
        with pytest.raises(DefenseError, match="a step that was not taken"):
            Accountant(each).epsilon(1)


@pytest.mark.parametrize("first", [True, False])
def test_checks_that_send_a_step_several_times_are_refused(first):
    half = client()
    callbacks = [PrivacyBudget(), keras_split.HijackDetector()]

    with pytest.raises(DefenseError, match="checks send an example"):
        fit(half, *(callbacks if first else callbacks[::-1]))

    assert int(half.optimizer.iterations) == 0
    assert Accountant(half, "labels").epsilon(1) > 0


def test_steps_that_are_counted_from_0_again_are_refused():
    half = client()
    fit(half, PrivacyBudget())
    half.compile("sgd", "sparse_categorical_crossentropy")

    with pytest.raises(DefenseError, match="compiled again after it had"):
        fit(half, PrivacyBudget())


def served(half, server):
    """Trains a half with a server that is elsewhere."""
    with server.serve(port=0) as running:
        half.compile(
            *("sgd", "sparse_categorical_crossentropy"),
            strategy=keras_split.SplitStrategy(f"grpc://{running.target}"),
        )
        try:
            return fit(half, PrivacyBudget())
        finally:
            half.close()


@pytest.mark.parametrize("compiled", [True, False])
def test_a_loaded_half_that_begins_with_step_0_again_is_refused(
    tmp_path, compiled
):
    half, server = keras_split.compile(
        nets.dense(), ["a", "b"], defenses=[GaussianMechanism(1.0, 4.0, BOTH)]
    )
    served(half, server)
    half.save(tmp_path / "half.keras")
    again = keras.saving.load_model(tmp_path / "half.keras", compile=compiled)

    with pytest.raises(DefenseError, match="compiled again after it had"):
        served(again, server)


def test_a_loaded_half_that_goes_on_has_an_epsilon(tmp_path):
    half = client()
    fit(half, PrivacyBudget())
    half.save(tmp_path / "half.keras")
    again = keras.saving.load_model(tmp_path / "half.keras")
    again._server_link.server = half.local_server()

    history = fit(again, PrivacyBudget())

    assert history.history["epsilon"] == [Accountant(half).epsilon(2)]


def test_one_chain_in_two_clients_is_refused():
    chain = Chain([GaussianMechanism(1.0, 4.0, BOTH)])
    halves = []
    for _ in range(2):
        half, _ = keras_split.compile(nets.dense(), ["a", "b"], defenses=chain)
        half.compile("sgd", "sparse_categorical_crossentropy")
        halves.append(half)
    fit(halves[0], PrivacyBudget())

    with pytest.raises(DefenseError, match="one Chain in two clients"):
        fit(halves[1], PrivacyBudget())
    with pytest.raises(DefenseError, match="one Chain in two clients"):
        Accountant(halves[0]).epsilon(1)


class Sent(keras_split.SessionTap):
    """Keeps the smashed data of each step."""

    def __init__(self):
        self.rows = []

    def sent(self, message):
        if isinstance(message, Forward):
            self.rows.append(message.tensors[0].codes.copy())


def accumulating(steps):
    return keras.optimizers.SGD(0.0, gradient_accumulation_steps=steps)


def test_steps_that_accumulate_gradients_draw_noise_of_their_own():
    half, sent = client(), Sent()
    half.compile(
        *(accumulating(2), "sparse_categorical_crossentropy"),
        strategy=keras_split.SplitStrategy(taps=[sent]),
    )
    x, y = nets.vectors(4)

    half.fit(x, y, batch_size=4, epochs=4, shuffle=False, verbose=0)

    for number, rows in enumerate(sent.rows):
        for other in sent.rows[:number]:
            assert not np.array_equal(rows, other)


def test_steps_that_accumulate_gradients_are_counted_one_by_one():
    half = client()
    half.compile(accumulating(2), "sparse_categorical_crossentropy")
    fit(half, PrivacyBudget(), epochs=2)

    history = fit(half, PrivacyBudget())

    assert history.history["epsilon"] == [Accountant(half).epsilon(3)]
