"""Epsilon in the logs of a training, and its end."""

import dp_accounting
import keras
import pytest

import keras_split
from keras_split.defenses import Accountant
from keras_split.defenses import GaussianMechanism
from keras_split.defenses import PrivacyBudget
from keras_split.errors import DefenseError
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


def test_an_optimizer_that_skips_steps_is_refused():
    half = client()
    half.compile(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
        "sparse_categorical_crossentropy",
    )

    with pytest.raises(DefenseError, match="takes every step"):
        fit(half, PrivacyBudget())


def test_steps_that_only_accumulate_gradients_are_counted():
    half = client()
    half.compile(
        keras.optimizers.SGD(0.1, gradient_accumulation_steps=4),
        "sparse_categorical_crossentropy",
    )

    found = [fit(half, PrivacyBudget()).history["epsilon"][0] for _ in range(2)]

    assert found == [Accountant(half).epsilon(n) for n in (1, 2)]
