"""Preprocessing as a matrix."""

import keras
import numpy as np
import pytest

from keras_split.litert.description import affine

APPLICATIONS = keras.applications


@pytest.mark.parametrize(
    "module",
    [
        APPLICATIONS.mobilenet_v2,
        APPLICATIONS.resnet50,
        APPLICATIONS.densenet,
        APPLICATIONS.inception_v3,
    ],
)
def test_those_of_keras_are_affine(module):
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, 3, 3))

    found = affine(module.preprocess_input)

    expected = module.preprocess_input(images.copy())
    made = images @ np.array(found["matrix"]) + found["offset"]
    np.testing.assert_allclose(made, expected, atol=1e-3)


@pytest.mark.parametrize("function", [np.sqrt, lambda x: x[..., :2], len])
def test_others_are_not(function):
    assert affine(function) is None
