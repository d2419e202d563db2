"""Names that Keras takes and TensorFlow does not."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

import keras_split

layers = keras.layers
CUT = ["erste größe", "(b)"]


def odd():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((4,), name="ein gang"),
            layers.Dense(5, activation="tanh", name=CUT[0]),
            layers.BatchNormalization(name="_norm 1"),
            layers.Dense(6, activation="tanh", name=CUT[1]),
            layers.Dense(3, activation="softmax", name="1+1"),
        ],
        name="my model",
    )


def compiled(model, **more):
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, **more)
    return model


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(24, 4)).astype("float32"), rng.integers(0, 3, 24)


def test_split_equals_whole_whatever_layers_are_called():
    x, y = data()
    # Keras itself trains it eagerly alone.
    whole = compiled(odd(), run_eagerly=True)
    whole.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    client, server = keras_split.compile(odd(), CUT, quantization="float32")

    compiled(client).fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)

    np.testing.assert_allclose(
        client.predict(x, batch_size=8, verbose=0),
        whole(x, training=False),
        atol=1e-5,
    )
    joined = keras_split.join(client, server)
    assert [layer.name for layer in joined.layers[-4:]] == [
        layer.name for layer in whole.layers
    ]


def test_halves_from_files_run_in_graphs_as_well(tmp_path):
    client, server = keras_split.compile(odd(), CUT, quantization="float32")
    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")

    loaded = keras.saving.load_model(tmp_path / "client.keras")
    body = keras.saving.load_model(tmp_path / "server.keras").body

    for made, half in ((loaded.head, client.head), (body, server.body)):
        x = [np.ones((2, *half.inputs[0].shape[1:]), "float32")]
        np.testing.assert_allclose(tf.function(made)(x), half(x), atol=1e-6)


def test_they_train_over_grpc_as_in_process():
    x, y = data()
    losses = []
    for served in (False, True):
        client, server = keras_split.compile(odd(), CUT, quantization="int8")
        with contextlib.ExitStack() as stack:
            more = {}
            if served:
                running = stack.enter_context(server.serve(port=0))
                address = f"grpc://{running.target}"
                more["strategy"] = keras_split.SplitStrategy(address)
            compiled(client, **more)
            told = client.fit(x, y, batch_size=8, shuffle=False, verbose=0)
            losses.append(told.history["loss"])
            client.close()

    assert losses[0] == losses[1]
