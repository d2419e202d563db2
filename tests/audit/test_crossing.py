import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_split
from keras_split import audit
from keras_split.audit.crossing import Crossing
from keras_split.defenses import GaussianNoise
from tests.audit import answers

PUBLIC = answers.blobs(40, 0)
HALF = keras_split.Quantization(keras_split.Rule("int8", block=2), "int8")


def sent_and_simulated(**kwargs):
    """What a phone sends in its first step, and what an attacker makes."""
    client, scene = answers.scene(
        layers.Conv2D(2, 3, name="a"), PUBLIC, **kwargs
    )
    client.compile("sgd", "sparse_categorical_crossentropy")
    kept = audit.watch(
        *(client, None, PUBLIC, [], scene),
        epochs=1,
        batch_size=8,
        steps=1,
    )
    made = kept.initial_head([kept.first.truth.x], training=True)
    again = Crossing(scene).send(made, tf.constant(0))
    return np.asarray(made), kept.first.seen[0].smashed, again


@pytest.mark.parametrize("quantization", ["float32", "int8", "int2", HALF])
def test_it_crosses_as_what_the_phone_sends(quantization):
    _, sent, again = sent_and_simulated(quantization=quantization)

    np.testing.assert_array_equal(sent[0], again[0])


def test_defenses_are_known_and_what_they_draw_is_not():
    made, sent, again = sent_and_simulated(defenses=[GaussianNoise(0.1)])

    one, other = sent[0] - made, np.asarray(again[0]) - made
    assert 0.8 < one.std() / other.std() < 1.25
    assert abs(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1]) < 0.1


def test_another_step_draws_other_noise():
    _, scene = answers.scene(
        layers.Rescaling(2.0), PUBLIC, defenses=[GaussianNoise(0.1)]
    )
    crossing, x = Crossing(scene), tf.constant(PUBLIC.x[:4])

    one, again, other = (
        crossing.send(x, tf.constant(n))[0].numpy() for n in (1, 1, 2)
    )

    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_gradients_pass_the_rounding():
    _, scene = answers.scene(layers.Rescaling(2.0), PUBLIC, "int2")
    x = tf.constant(PUBLIC.x[:4])

    with tf.GradientTape() as tape:
        tape.watch(x)
        made = Crossing(scene).send(3 * x, tf.constant(0))[0]

    assert np.unique(made).size <= 4 * 4
    np.testing.assert_array_equal(tape.gradient(made, x), 3 + 0 * x)


def test_an_attackers_head_is_not_the_phones_though_seeds_agree():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(8, name="a"),
            layers.Dense(8, name="b"),
            layers.Dense(3),
        ]
    )
    client, server = keras_split.compile(model, cut=["a", "b"])
    x = np.zeros((4, 8), "float32")
    public = audit.Examples(x, np.arange(4) % 3)
    scene = audit.scene_of(client, server, public, classes=3, seed=0)

    mine, again = scene.new_head(), scene.new_head()

    assert not np.array_equal(mine.weights[0], client.head.weights[0])
    np.testing.assert_array_equal(mine.weights[0], again.weights[0])
