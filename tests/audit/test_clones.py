import keras
import numpy as np
from keras import layers

import keras_split
from keras_split.audit.clones import clones
from tests import nets


def test_clones_train_as_the_halves_do_and_leave_them_alone():
    client, server = keras_split.compile(
        nets.built(nets.dense), cut=["a", "b"], quantization="float32"
    )
    client.compile(
        keras.optimizers.SGD(0.1),
        "sparse_categorical_crossentropy",
        learning_rate_multipliers={"head": 2.0},
    )
    x, y = nets.vectors()
    one, other = clones(client, server)
    before = nets.values_of(client.head)
    one.fit(x, y, batch_size=26, epochs=2, verbose=0)
    for was, now in zip(before, nets.values_of(client.head), strict=True):
        np.testing.assert_array_equal(was, now)
    client.fit(x, y, batch_size=26, epochs=2, verbose=0)
    for half, copy in (
        (client.head, one.head),
        (client.tail, one.tail),
        (server.body, other.body),
    ):
        for a, b in zip(half.get_weights(), copy.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_fresh_clones_have_other_weights_and_shared_layers_stay_shared():
    image = keras.Input((4,), name="values")
    shared = layers.Dense(4, name="shared")
    x = layers.Dense(6, activation="tanh", name="b")(shared(image))
    x = layers.Dense(4, activation="tanh", name="c")(x)
    x = layers.Dense(3, activation="softmax", name="out")(shared(x))
    client, server = keras_split.compile(keras.Model(image, x), cut=["b", "c"])
    client.compile("sgd", "sparse_categorical_crossentropy")
    one, _ = clones(client, server, fresh=True)
    ours, theirs = (half.head.get_layer("shared") for half in (client, one))
    assert one.tail.get_layer("shared") is theirs
    assert not np.array_equal(ours.get_weights()[0], theirs.get_weights()[0])
