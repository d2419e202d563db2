import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_split.training.scopes import give_valid_scopes

layers = keras.layers


def odd():
    """A model of layers whose names TensorFlow does not take."""
    inner = keras.Sequential(
        [keras.Input((3,)), layers.Dense(3, name="größe")], name="in (ü)"
    )
    return keras.Sequential(
        [
            keras.Input((2, 4)),
            layers.TimeDistributed(layers.Dense(3, name="a+b"), name="a b"),
            layers.GlobalAveragePooling1D(name=":"),
            inner,
            layers.Dense(2, name="_last"),
        ],
        name="my model",
    )


def test_layers_of_any_name_are_called_in_graphs():
    model, x = odd(), tf.ones((1, 2, 4))
    names = [layer.name for layer in model.layers]
    expected = model(x)

    with tf.Graph().as_default():
        for name in (*names[:-1], model.name):  # Keras would leave it open
            with pytest.raises(ValueError, match="scope name"):
                tf.name_scope(name).__enter__()
    give_valid_scopes(model)
    give_valid_scopes(model)
    made = tf.function(model)(x)

    np.testing.assert_allclose(made, expected, atol=1e-6)
    assert [layer.name for layer in model.layers] == names


def test_only_what_tensorflow_does_not_take_is_changed():
    layer = layers.Dense(3, name="A_1.b-c")

    give_valid_scopes(keras.Sequential([keras.Input((3,)), layer], name="m"))

    assert "_open_name_scope" not in vars(layer)
