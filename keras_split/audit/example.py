"""A small network, for a first look and for benchmarks."""

import keras
from keras import layers

# Where it may be cut, from shallow to deep, with "features" as the other cut.
CUTS = ("pool1", "pool2", "pool3")


def example_network(
    input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10
) -> keras.Model:
    """Three blocks of convolutions and two dense layers.

    Args:
        input_shape: Height, width and channels; 16 pixels or more.
        classes: How many there are.
    """
    norm = {"momentum": 0.9}  # Keras' own 0.99 is for long trainings
    image = x = keras.Input(input_shape, name="image")
    for number, filters in enumerate((16, 32, 64), start=1):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=number == 1,
            name=f"conv{number}",
        )(x)
        if number > 1:
            x = layers.BatchNormalization(**norm, name=f"norm{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
        x = layers.MaxPool2D(name=CUTS[number - 1])(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(128, activation="relu", name="features")(x)
    x = layers.Dense(classes, activation="softmax", name="classes")(x)
    return keras.Model(image, x, name="example")
