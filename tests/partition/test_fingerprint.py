"""Halves that fit together are told by one hash of what they compute."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_split.partition.partition import Partition
from tests import nets


def fingerprint(build=nets.plain, cut=("a_relu", "b_drop")):
    return Partition(build(), list(cut)).fingerprint


def unnamed(width=4, activation="relu", factor=2.0, axis=1, depth=2):
    """A model whose names Keras counts up at every build."""
    x = image = keras.Input((8, 8, 2))
    for _ in range(depth):
        x = layers.Conv2D(width, 3, activation=activation)(x)
    x = layers.TimeDistributed(
        keras.Sequential([keras.Input((None, width)), layers.Dense(3)])
    )(x)
    x = keras.ops.mean(factor * x, axis=axis)
    x = layers.GlobalAveragePooling1D()(layers.Dropout(0.5)(x))
    return keras.Model(image, layers.Dense(2)(x))


UNNAMED_CUT = ("Conv2D#1", "Dropout#1")


@pytest.mark.parametrize(
    ("build", "cut"),
    [
        (nets.plain, ("a_relu", "b_drop")),
        (nets.transfer, ("base/bn1", "pool")),
        (nets.two_by_two, ("a", "b")),
        (unnamed, UNNAMED_CUT),
    ],
)
def test_two_builds_of_one_model_have_one_fingerprint(build, cut):
    assert fingerprint(build, cut) == fingerprint(build, cut)


def test_weights_do_not_count():
    model = nets.dense()
    before = Partition(model, ["a", "b"]).fingerprint

    model.set_weights([w + 1 for w in model.get_weights()])

    assert Partition(model, ["a", "b"]).fingerprint == before


@pytest.mark.parametrize(
    "change",
    [
        {"width": 5},
        {"activation": "tanh"},
        {"factor": 3.0},
        {"axis": 2},
        {"depth": 3},
    ],
    ids=str,
)
def test_another_architecture_has_another_fingerprint(change):
    other = fingerprint(lambda: unnamed(**change), UNNAMED_CUT)

    assert other != fingerprint(unnamed, UNNAMED_CUT)


@pytest.mark.parametrize(
    "cut", [("a", "b_drop"), ("a_relu", "b_relu"), ("a_relu",)], ids=str
)
def test_another_cut_has_another_fingerprint(cut):
    assert fingerprint(cut=cut) != fingerprint()


def test_another_input_size_has_another_fingerprint():
    def sized(size):
        x = image = keras.Input((size, size, 1))
        x = layers.Conv2D(2, 3, name="a")(x)
        x = layers.GlobalAveragePooling2D(name="b")(x)
        return keras.Model(image, layers.Dense(2)(x))

    small = fingerprint(lambda: sized(8), ("a", "b"))

    assert fingerprint(lambda: sized(9), ("a", "b")) != small


def test_another_precision_has_another_fingerprint():
    whole = fingerprint()

    keras.config.set_dtype_policy("mixed_bfloat16")

    assert fingerprint() != whole


def test_a_constant_in_the_graph_counts():
    def shifted(by):
        x = values = keras.Input((4,))
        x = layers.Dense(3, name="a")(x) + np.float32(by)
        return keras.Model(values, layers.Dense(2, name="b")(x))

    one = fingerprint(lambda: shifted([1, 2, 3]), ("a", "b"))

    assert one == fingerprint(lambda: shifted([1, 2, 3]), ("a", "b"))
    assert one != fingerprint(lambda: shifted([1, 2, 4]), ("a", "b"))


def test_a_word_that_is_a_name_too_counts():
    def named(activation):
        x = image = keras.Input((4,))
        x = layers.Dense(4, activation, name=activation)(x)
        return keras.Model(image, layers.Dense(2)(layers.Dense(3)(x)))

    cut = ("Dense#1", "Dense#2")
    one = fingerprint(lambda: named("relu"), cut)

    assert one != fingerprint(lambda: named("tanh"), cut)
    assert one == fingerprint(lambda: named("relu"), cut)
