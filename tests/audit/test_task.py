import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_split
from keras_split import audit
from keras_split.audit.task import Task
from tests import nets


def scene(units, activation, classes, **kwargs):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, name="a"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5),
            layers.Dense(6, name="b"),
            layers.Dense(units, activation=activation),
        ]
    )
    client, server = keras_split.compile(model, cut=["a", "b"], **kwargs)
    x, y = nets.vectors()
    public = audit.Examples(x, y % classes)
    return audit.scene_of(client, server, public, classes)


@pytest.mark.parametrize(
    ("units", "activation", "classes"),
    [
        (3, "softmax", 3),
        (3, None, 3),
        (1, "sigmoid", 2),
        (1, None, 2),
        (2, "softmax", 2),
    ],
)
def test_a_tail_learns_classes_through_a_body_that_stays(
    units, activation, classes
):
    seen = scene(units, activation, classes)
    task, before = Task(seen), nets.values_of(seen.body)
    smashed = tf.constant(np.eye(5, dtype="float32")[np.arange(20) % classes])
    y = tf.constant(np.arange(20) % classes, "int32")
    optimizer = keras.optimizers.Adam(0.05)

    losses = []
    for _ in range(40):
        with tf.GradientTape() as tape:
            loss = task.loss([smashed], y)
        weights = task.tail.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
        losses.append(float(loss))

    assert losses[0] == pytest.approx(np.log(classes), abs=1)
    assert min(losses[-5:]) < 0.7 * losses[0]
    assert nets.largest_difference(before, nets.values_of(seen.body)) == 0
    features = seen.body([smashed], training=True)
    assert task.labels([features]).shape == (20,)


def test_labels_of_two_classes_are_those_of_the_larger_side():
    for activation in ("sigmoid", None):
        task = Task(scene(1, activation, 2))
        kernel = np.eye(6, 1)
        task.tail.set_weights([kernel, np.zeros(1)])

        found = task.labels([tf.constant([[-1.0] + [0] * 5, [2.0] + [0] * 5])])

        assert found.tolist() == [0, 1]


@pytest.mark.parametrize("units", [1, 4])
def test_what_tells_no_classes_apart_has_no_tail(units):
    assert Task(scene(units, None, 3)).tail is None


@pytest.mark.parametrize("units", [1, 3])
def test_probabilities_behind_a_bottleneck_are_known_for_what_they_are(units):
    kind = "sigmoid" if units == 1 else "softmax"
    seen = scene(units, kind, max(units, 2), bottleneck=2)
    task = Task(seen)
    smashed = [tf.ones((4, *s.shape)) for s in seen.contract.smashed]

    # Keras warns of probabilities that are taken for logits, and warnings
    # are errors here.
    loss = task.loss(smashed, tf.zeros((4,), tf.int32))

    features = [tf.ones((4, *s.shape)) for s in seen.contract.features]
    made = np.asarray(task.tail(features))
    sure = made[:, 0] > 0.5 if units == 1 else made.argmax(1)
    np.testing.assert_array_equal(task.labels(features), sure)
    assert np.isfinite(loss)
