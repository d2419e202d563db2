import keras
import numpy as np
import pytest

from keras_split.protocol.optimizer_config import CLASSES
from keras_split.training.optimizer_copy import has_schedule
from keras_split.training.optimizer_copy import optimizer_copy


class Boosted(keras.optimizers.SGD):
    """Knows more than its config, and asks for what it cannot tell."""

    def __init__(self, boost):
        super().__init__(0.5, momentum=0.5)
        self.boost = boost
        self.taken = self.add_variable((), name="taken")

    def update_step(self, gradient, variable, learning_rate):
        self.taken.assign_add(1.0)
        super().update_step(gradient, variable, learning_rate * self.boost)


def weights(count=2):
    return [keras.Variable(np.ones((2, 2), "float32")) for _ in range(count)]


def moved(optimizer, steps=2):
    """Where an optimizer takes fresh weights."""
    variables = weights()
    optimizer.build(variables)
    for _ in range(steps):
        optimizer.apply([0.5 * keras.ops.ones((2, 2))] * 2, variables)
    return np.array([np.array(v.value) for v in variables])


@pytest.mark.parametrize("name", CLASSES)
def test_a_copy_of_one_that_was_used_takes_the_steps_of_a_fresh_one(name):
    optimizer = getattr(keras.optimizers, name)(0.1, weight_decay=0.1)

    expected = moved(optimizer)

    np.testing.assert_array_equal(moved(optimizer_copy(optimizer)), expected)


@pytest.mark.parametrize("used", [False, True])
def test_attributes_beside_the_config_are_copied(used):
    optimizer = Boosted(3.0)
    expected = moved(Boosted(3.0))
    if used:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.inner_optimizer.momentum = 0.0
        optimizer.inner_optimizer.taken = None
        made = optimizer_copy(optimizer).inner_optimizer
        assert (made.boost, made.momentum) == (3.0, 0.0)
        return

    np.testing.assert_array_equal(moved(optimizer_copy(optimizer)), expected)
    assert float(optimizer.taken) == 0


def test_a_schedule_stays_unless_there_is_a_rate():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    optimizer = keras.optimizers.SGD(schedule)

    kept = optimizer_copy(optimizer)
    fixed = optimizer_copy(optimizer, fixed_rate=True)
    fixed.learning_rate = 0.25

    np.testing.assert_array_equal(moved(kept), moved(optimizer))
    assert float(fixed.learning_rate) == 0.25
    scaled = keras.optimizers.LossScaleOptimizer(kept)
    assert [has_schedule(o) for o in (scaled, fixed, "sgd", None)] == [
        True,
        False,
        False,
        False,
    ]


def test_what_does_not_decay_moves_with_its_variables():
    before, after = weights(), weights()
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(before[1:])

    made = optimizer_copy(optimizer, moved=(before, after))

    assert [made._use_weight_decay(v) for v in after] == [True, False]
    assert not optimizer_copy(optimizer)._use_weight_decay(before[1])


def test_lists_are_not_shared():
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.seen = [1]

    optimizer_copy(optimizer).seen.append(2)

    assert list(optimizer.seen) == [1]
