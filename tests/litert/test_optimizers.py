"""Update rules against Keras' optimizers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_split.errors import ExportError
from keras_split.litert.optimizers import Update

OPTIMIZERS = keras.optimizers
CASES = {
    "sgd": lambda: OPTIMIZERS.SGD(0.1),
    "momentum": lambda: OPTIMIZERS.SGD(0.1, momentum=0.9),
    "nesterov": lambda: OPTIMIZERS.SGD(0.1, momentum=0.9, nesterov=True),
    "decayed": lambda: OPTIMIZERS.SGD(0.1, weight_decay=0.02),
    "adam": lambda: OPTIMIZERS.Adam(0.1),
    "adam, other betas": lambda: OPTIMIZERS.Adam(0.1, 0.8, 0.95, epsilon=0.01),
    "adamw": lambda: OPTIMIZERS.AdamW(0.1, weight_decay=0.1),
    "clipped by norm": lambda: OPTIMIZERS.SGD(0.1, clipnorm=0.5),
    "clipped by value": lambda: OPTIMIZERS.Adam(0.1, clipvalue=0.3),
    "not clipped by norm": lambda: OPTIMIZERS.SGD(0.1, clipnorm=0.0),
    "not clipped by value": lambda: OPTIMIZERS.SGD(0.1, clipvalue=-1.0),
}


class SGD(OPTIMIZERS.SGD):
    """One's own, with another rule."""


def schedule():
    return OPTIMIZERS.schedules.ExponentialDecay(0.1, 2, 0.3)


def rows(values):
    """The gradient of an Embedding that looks up row 2 twice."""
    return tf.IndexedSlices(values, tf.constant([0, 2, 2]), (3, 4))


@pytest.mark.parametrize("form", [tf.constant, rows])
@pytest.mark.parametrize("name", CASES)
def test_weights_move_as_in_keras(name, form):
    rng = np.random.default_rng(0)
    optimizer, update = CASES[name](), Update(CASES[name]())
    start = rng.normal(size=(3, 4)).astype("float32")
    variable = keras.Variable(start)
    weight = tf.constant(start)
    slots = [tf.zeros_like(weight)] * update.slots

    for step in range(6):
        gradient = form(rng.normal(size=(3, 4)).astype("float32"))
        optimizer.learning_rate = rate = 0.1 / (1 + step)
        optimizer.apply([gradient], [variable])
        weight, slots = update(
            variable,
            weight,
            slots,
            gradient,
            tf.constant(rate, tf.float32),
            tf.constant(step),
        )

        np.testing.assert_allclose(weight, variable.numpy(), rtol=1e-5)


def test_constraints_hold():
    variable = keras.Variable(np.ones(3, "float32"))
    variable.constraint = keras.constraints.NonNeg()

    new = Update(OPTIMIZERS.SGD()).__call__(
        variable,
        tf.ones(3),
        [],
        tf.constant([0.0, 1.0, 3.0]),
        tf.constant(1.0),
        tf.constant(0),
    )

    assert new.weight.numpy().tolist() == [1, 0, 0]


def test_excluded_weights_do_not_decay():
    optimizer = OPTIMIZERS.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    variable = keras.Variable(np.ones(2, "float32"), name="bias")
    zeros = tf.zeros(2)

    new = Update(optimizer)(
        variable,
        tf.ones(2),
        [zeros, zeros],
        zeros,
        tf.constant(0.1),
        tf.constant(0),
    )

    assert new.weight.numpy().tolist() == [1, 1]


@pytest.mark.parametrize(
    "optimizer, word",
    [
        (lambda: OPTIMIZERS.RMSprop(), "SGD, Adam, AdamW"),
        (lambda: OPTIMIZERS.Adam(amsgrad=True), "amsgrad"),
        (lambda: OPTIMIZERS.SGD(global_clipnorm=1.0), "clipnorm"),
        (lambda: OPTIMIZERS.SGD(use_ema=True), "use_ema"),
        (lambda: OPTIMIZERS.SGD(schedule()), "a schedule"),
        (lambda: OPTIMIZERS.Adam(lambda: 0.1), "a schedule"),
        (lambda: SGD(0.1), "Keras' SGD"),
        (lambda: OPTIMIZERS.LossScaleOptimizer(SGD(0.1)), "LossScale"),
        (
            lambda: OPTIMIZERS.SGD(gradient_accumulation_steps=2),
            "gradient_accumulation_steps=2",
        ),
    ],
)
def test_others_are_refused(optimizer, word):
    with pytest.raises(ExportError, match="Received") as caught:
        Update(optimizer())

    assert word in str(caught.value)
