import keras
import numpy as np
import pytest

import keras_split
from keras_split_cli.moving_statistics import warning


@pytest.fixture
def client():
    """A client with statistics in its head, which has seen no image."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, name="first"),
            layers.BatchNormalization(momentum=0.999, name="norm"),
            layers.Dense(3, name="second"),
            layers.Dense(2),
        ]
    )
    return keras_split.compile(model, ["norm", "second"])[0]


def test_statistics_that_cannot_follow_are_told(client):
    said = warning(client, images=80, batch_size=32, epochs=3)

    assert "0.999: after these 9 steps" in said
    assert "still 99 %" in said
    assert "--batchnorm-momentum 0.9" in said


def test_where_they_have_time_or_have_followed_nothing_is_said(client):
    assert warning(client, images=32_000, batch_size=32, epochs=3) is None

    norm = client.head.get_layer("norm")
    norm.moving_mean.assign(np.ones(3))

    assert warning(client, images=80, batch_size=32, epochs=3) is None
