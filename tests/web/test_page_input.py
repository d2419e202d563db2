"""Photos in the page become the numbers that they become in Python.

The page's own test, web/app/tests/model_input.test.ts, compares with the file
that this one keeps true.
"""

import json
import pathlib
import re

import numpy as np
import pytest

from keras_split import datasets
from keras_split.datasets import fashion_mnist
from keras_split.protocol.data_spec import DataSpec

APP = pathlib.Path(__file__).resolve().parents[2] / "web/app"
GOLDEN = APP / "tests/golden/model_input.json"
GRAY_MIX = (((0.5, 0.1, 0.0), (0.0, 0.25, 0.0), (0.2, 0.0, 1.0)), (1, -2, 0.5))
CASES = [
    # (height, width, channels) of the image and of the input; scale
    ((9, 7, 3), (4, 5, 3), None),
    ((5, 6, 3), (8, 8, 3), GRAY_MIX),
    ((28, 28, 1), (24, 24, 3), None),
    ((6, 9, 3), (6, 9, 1), (((1 / 127.5,),), (-1,))),
    ((16, 2, 1), (3, 3, 1), (((1 / 255,),), (0,))),
]


def _made() -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    made: list[dict[str, object]] = []
    for shape, target, scale in CASES:
        image = rng.integers(0, 256, shape, np.uint8)
        matrix, offset = scale or ((), ())
        spec = DataSpec((), matrix, offset)
        x = datasets.to_model_input(
            image[np.newaxis], target, spec.scale_in_place
        )
        small = datasets.resize(image[np.newaxis], target[:2])
        made.append(
            {
                "image": image.ravel().tolist(),
                "shape": shape,
                "target": target,
                "preprocess": scale
                and {"matrix": scale[0], "offset": scale[1]},
                "resized": small.ravel().tolist(),
                "x": [float(f"{value:.7g}") for value in x.ravel()],
            }
        )
    return made


def test_the_numbers_that_the_page_is_held_to_are_those_of_python():
    stored = json.loads(GOLDEN.read_text())
    for case, made in zip(stored, _made(), strict=True):
        assert case["image"] == made["image"]
        assert case["resized"] == made["resized"]
        np.testing.assert_allclose(case["x"], made["x"], rtol=1e-6, atol=1e-6)


def test_the_sample_images_are_those_of_the_subset_that_ships():
    pillow = pytest.importorskip("PIL.Image")
    (x, y), (x_test, y_test) = fashion_mnist.load_subset()

    sprite = np.asarray(
        pillow.open(APP / "src/train/samples/fashion_mnist.png")
    )

    tiles = sprite.reshape(10, 28, 30, 28).swapaxes(1, 2)
    for label in range(10):
        np.testing.assert_array_equal(tiles[label, :20], x[y == label][:20])
        test = x_test[y_test == label][:10]
        np.testing.assert_array_equal(tiles[label, 20:], test)
    words = (APP / "src/train/images/sprite.ts").read_text()
    assert re.findall(r'^  "(.+)",$', words, re.M) == list(
        fashion_mnist.CLASS_NAMES
    )
