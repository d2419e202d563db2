"""Examples that are known again by their inputs."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_split.defenses.likeness import likeness
from keras_split.errors import DefenseError
from keras_split.litert.convert import convert


def rows(*inputs, seed="7"):
    made = likeness([tf.constant(x) for x in inputs], seed)
    return [tuple(row) for row in made.numpy()]


def test_the_same_inputs_are_alike_in_any_batch_and_others_are_not():
    x = np.random.default_rng(0).normal(size=(40, 6, 5)).astype("float32")

    found = rows(x)

    assert rows(x[::-1]) == found[::-1]
    assert rows(x[7:8]) == found[7:8]
    assert len(set(found)) == 40
    assert not set(found) & set(rows(x, seed="8"))


@pytest.mark.parametrize("values", [3, 256, 5000])
def test_one_bit_makes_another(values):
    one = np.random.default_rng(0).normal(size=(1, values)).astype("float32")
    batch = one.repeat(65, 0)
    for bit in range(32):
        batch.view("uint32")[1 + bit, 0] ^= np.uint32(1 << bit)
        batch.view("uint32")[33 + bit, -1] ^= np.uint32(1 << bit)

    words = np.array(rows(batch))

    for word in range(4):
        assert len(set(words[:, word])) == 65


def test_black_and_white_images_are_told_apart():
    # Floats of 0 and 1 differ in high bits alone.
    x = np.random.default_rng(0).integers(0, 2, (500, 28, 28)).astype("float32")
    x[1:] = x[:1]
    for i in range(1, 500):
        x[i, i % 28, i // 28] = 1 - x[i, i % 28, i // 28]

    assert len(set(rows(x))) == 500


def test_several_inputs_of_any_kind_of_number_count():
    x = np.zeros((4, 3), "uint8")
    y = np.array([[0.0], [0.0], [1.0], [1.0]])
    z = np.array([False, True, False, True])

    assert len(set(rows(x, y, z))) == 4


@pytest.mark.parametrize(
    "x",
    [
        tf.constant([["a"]]),
        tf.TensorSpec((None, None), tf.float32),
    ],
)
def test_what_is_no_number_or_of_no_size_is_refused(x):
    if isinstance(x, tf.TensorSpec):
        traced = tf.function(lambda x: likeness([x], "7"), autograph=False)
        call = traced.get_concrete_function
    else:

        def call(x):
            return likeness([x], "7")

    with pytest.raises(DefenseError, match="Expected inputs that are numbers"):
        call(x)


def test_litert_finds_the_same():
    def made(x, n):
        return {"words": likeness([x, n], "7")}

    specs = {
        "x": tf.TensorSpec((5, 30, 9), tf.float32),
        "n": tf.TensorSpec((5, 2), tf.int32),
    }
    content = convert(tf.Module(), {"like": (made, specs)}, {})
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 30, 9)).astype("float32")
    n = rng.integers(-(2**31), 2**31, (5, 2)).astype("int32")

    found = Interpreter(model_content=content).get_signature_runner("like")

    expected = likeness([tf.constant(x), tf.constant(n)], "7")
    np.testing.assert_array_equal(found(x=x, n=n)["words"], expected)
