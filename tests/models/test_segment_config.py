"""Halves with a layer that has no config: they train, and are not saved."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from keras_split.errors import DataError


class Broken(layers.Dense):
    """Its config asks for what it does not have, as one of keras_hub does."""

    def get_config(self):
        return super().get_config() | {"scale": self.scale}


def halves(kinds):
    x = inputs = keras.Input((4,), name="x")
    for name, kind in zip("abc", kinds, strict=True):
        x = kind(3, name=name)(x)
    return keras_split.compile(keras.Model(inputs, x), ["a", "b"])


def test_a_client_is_not_saved_with_a_layer_without_a_config(tmp_path):
    client, _ = halves([Broken, layers.Dense, layers.Dense])
    client.compile("sgd", "mse")
    client.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)

    with pytest.raises(DataError, match="'a' of the class Broken.*scale"):
        client.save(tmp_path / "client.keras")


def test_nor_is_a_server_nor_are_both_joined(tmp_path):
    client, server = halves([layers.Dense, Broken, layers.Dense])

    with pytest.raises(DataError, match="'b' of the class Broken"):
        server.save(tmp_path / "server.keras")
    with pytest.raises(DataError, match="the body that it cannot.*scale"):
        keras_split.join(client, server)


def test_its_class_and_its_weights_tell_it_from_others():
    one = halves([Broken] * 3)[0].contract.fingerprint
    same = halves([Broken] * 3)[0].contract.fingerprint
    other = halves([Broken, Broken, layers.Dense])[0].contract.fingerprint

    assert one == same != other
