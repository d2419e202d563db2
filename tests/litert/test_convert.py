import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_split.errors import ExportError
from keras_split.litert.convert import convert

SPEC = tf.TensorSpec((2, 3, 4), tf.float32)


def converted(function):
    signature = (lambda x: {"y": function(x)}, {"x": SPEC})
    return convert(tf.Module(), {"f": signature}, {"mix": "Mix"})


@pytest.mark.parametrize("one, other", [(2, 1), (1, 0), (-1, 0), (0, -1)])
def test_what_the_converter_takes_for_a_reshape_is_refused(one, other):
    def mixed(x):
        with tf.name_scope("mix"):
            return keras.ops.concatenate(keras.ops.unstack(x, axis=one), other)

    with pytest.raises(ExportError, match=r"unstacked.* in 'mix' \(Mix\)"):
        converted(mixed)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.concat(tf.unstack(x, axis=1), 1),
        lambda x: tf.concat(tf.unstack(x, axis=0), 0),
        lambda x: tf.concat([t + 1.0 for t in tf.unstack(x, axis=2)], 1),
        lambda x: tf.concat(tf.split(x, 2, axis=2), 1),
        lambda x: tf.concat(tf.unstack(x, axis=2)[:2], 0),
        lambda x: tf.concat(tf.unstack(x, axis=2)[::-1], 0),
        lambda x: tf.concat([*tf.unstack(x, axis=2), x[:, :, 0]], 0),
    ],
)
def test_what_is_near_it_is_computed(function):
    x = np.random.default_rng(0).normal(size=SPEC.shape).astype("float32")

    run = Interpreter(model_content=converted(function)).get_signature_runner()

    np.testing.assert_allclose(run(x=x)["y"], function(x), 1e-6)


def test_a_layer_is_named_as_it_is_called_whatever_its_scope_is():
    def mixed(x):
        with tf.name_scope("m_x_1"):
            return keras.ops.concatenate(keras.ops.unstack(x, axis=1), 0)

    signature = (lambda x: {"y": mixed(x)}, {"x": SPEC})
    with pytest.raises(ExportError, match=r"in 'mïx 1' \(Mix\)"):
        convert(tf.Module(), {"f": signature}, {"mïx 1": "Mix"})
