import keras
import numpy as np
import pytest

import keras_split
from keras_split_cli.moving_statistics import warning


def halved(momentum):
    """A client with statistics in its head, which has seen no image."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, name="first"),
            layers.BatchNormalization(momentum=momentum, name="norm"),
            layers.Dense(3, name="second"),
            layers.Dense(2),
        ]
    )
    return keras_split.compile(model, ["norm", "second"])[0]


@pytest.fixture
def client():
    return halved(0.999)


def test_statistics_that_cannot_follow_are_told(client):
    said = warning(client, images=80, batch_size=32, epochs=3)

    assert "0.999: after these 9 steps" in said
    assert "still 99 %" in said
    assert "Train 2,995 steps or more, which is --epochs 999 with" in said
    assert "--batchnorm-momentum 0.7, the same for keras-split serve" in said


@pytest.mark.parametrize(
    "momentum, epochs, helps, not_named",
    [
        (
            0.9,
            3,
            "--epochs 10 with these images; or make both",
            "momentum 0.9,",
        ),
        (0.99, 50, "--epochs 100 with these images; or make", "momentum 0.99,"),
        (0.9, 1, "Train 29 steps or more, which is --epochs 10", "anew"),
        (1.0, 3, "Make both halves anew with --batchnorm-momentum", "--epochs"),
        (1.0, 1, "Train for more epochs", "anew"),
    ],
)
def test_what_is_said_would_help(momentum, epochs, helps, not_named):
    said = warning(halved(momentum), images=80, batch_size=32, epochs=epochs)

    assert helps in said
    assert not_named not in said


def test_where_they_have_time_or_have_followed_nothing_is_said(client):
    assert warning(client, images=32_000, batch_size=32, epochs=3) is None

    norm = client.head.get_layer("norm")
    norm.moving_mean.assign(np.ones(3))

    assert warning(client, images=80, batch_size=32, epochs=3) is None
