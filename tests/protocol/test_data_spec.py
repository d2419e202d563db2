"""What a model's data must be, in files and as hashes."""

import json
import math

import keras
import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split.protocol.data_spec import DataSpec

APPLICATIONS = keras.applications
SPEC = DataSpec(("cat", "dog"), ((0.5, 0.0), (0.0, 0.5)), (-1.0, 1.0))
PIXELS = np.random.default_rng(0).uniform(0, 255, (70, 3, 2, 3))


def test_a_spec_is_the_same_after_a_file():
    assert DataSpec.get(json.loads(json.dumps(SPEC.get_config()))) == SPEC
    assert DataSpec.get(SPEC) is SPEC


def test_a_file_without_one_says_nothing():
    assert DataSpec.get(None) == DataSpec()
    assert not DataSpec().digest


@pytest.mark.parametrize(
    "module",
    [
        APPLICATIONS.mobilenet_v2,
        APPLICATIONS.resnet50,
        APPLICATIONS.densenet,
        APPLICATIONS.inception_v3,
        APPLICATIONS.efficientnet,
    ],
)
def test_the_preprocessing_of_keras_is_a_matrix(module):
    spec = DataSpec.of(module.preprocess_input, ["cat", "dog"])

    made = spec.scale(PIXELS)

    assert spec.class_names == ("cat", "dog")
    assert made.dtype == np.float32
    expected = module.preprocess_input(PIXELS.copy())
    np.testing.assert_allclose(made, expected, atol=2e-4)


def test_gray_images_have_a_matrix_of_one_number():
    spec = DataSpec.of(lambda x: x / 255.0 - 0.5, channels=1)

    np.testing.assert_allclose(spec.matrix, [[1 / 255]], rtol=1e-6)
    assert spec.scale(np.full((2, 3, 3, 1), 255, np.uint8)).max() == 0.5


@pytest.mark.parametrize(
    "function",
    [
        np.sqrt,
        np.round,
        len,
        lambda x: x[..., :2],
        lambda x: x[:, ::-1],
        lambda x: x - x.mean(),
        lambda x: x / 0.0,
        lambda x: x.no_such_method(),
        lambda x: np.where(x > 254, 254, x),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered in")
def test_what_is_no_matrix_is_refused_in_our_words(function):
    with pytest.raises(DataError, match="Expected preprocessing that scales"):
        DataSpec.of(function)


def test_images_stay_as_they_are_without_a_matrix():
    images = np.full((1, 2, 2, 3), 255, np.uint8)

    made = DataSpec(("cat",)).scale(images)

    assert made.dtype == np.float32
    assert (made == 255).all()


def test_scaling_leaves_the_images_alone_and_wants_their_channels():
    images = np.full((1, 2, 2, 2), 4.0, np.float32)

    assert SPEC.scale(images)[0, 0, 0].tolist() == [1.0, 3.0]
    assert (images == 4).all()
    with pytest.raises(DataError, match="Expected images of 2 channels"):
        SPEC.scale(np.zeros((1, 2, 2, 3)))


def test_what_may_not_be_written_over_is_copied():
    images = np.full((1, 2, 2, 2), 4.0, np.float32)
    assert SPEC.scale_in_place(images) is images
    images.setflags(write=False)

    assert (SPEC.scale_in_place(images) != images).all()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"class_names": "cat"}, "list of names"),
        ({"class_names": 7}, "Expected a sequence"),
        ({"class_names": ["cat", ""]}, "the name of each class"),
        ({"class_names": ["cat", 7]}, "the name of each class"),
        ({"class_names": ["cat", "cat"]}, "each class once"),
        ({"matrix": [[1, 0]]}, "a row, and in each row a number"),
        ({"matrix": [[1]], "offset": [1, 2]}, "a row, and in each row"),
        ({"offset": [1]}, "a row, and in each row"),
        ({"matrix": [["a"]]}, "Expected numbers"),
        ({"matrix": 2.0}, "Expected a sequence"),
        ({"matrix": [2.0]}, "Expected numbers"),
        ({"matrix": [[math.nan]]}, "Expected finite"),
        ({"matrix": [[1]], "offset": [math.inf]}, "Expected finite"),
    ],
)
def test_what_cannot_be_is_refused(fields, words):
    with pytest.raises(DataError, match=words):
        DataSpec(**fields)


@pytest.mark.parametrize("value", ["cat", ["cat"], {"names": ["cat"]}, 7])
def test_what_is_no_spec_is_refused(value):
    with pytest.raises(DataError, match="Expected a keras_split.DataSpec"):
        DataSpec.get(value)


def test_hashes_tell_other_data_apart_and_no_more():
    names = SPEC.named(["dog", "cat"])
    other = DataSpec(SPEC.class_names, np.eye(2), (0, 0))

    assert names.digest.preprocess == SPEC.digest.preprocess
    assert names.digest.classes != SPEC.digest.classes
    assert other.digest.classes == SPEC.digest.classes
    assert other.digest.preprocess != SPEC.digest.preprocess
    assert DataSpec(["a,b"]).digest != DataSpec(["a", "b"]).digest
    assert "cat" not in str(SPEC.digest)


def test_hashes_are_those_of_another_machine():
    """Letters in parts, -0.0 and the last bits are one way to write it."""
    once = DataSpec(["caf\u00e9"], [[0.1 + 0.2]], [0.0]).digest
    again = DataSpec(["cafe\u0301"], [[0.3]], [-0.0]).digest

    assert once == again
    assert once.classes.startswith("d9957358c680")
    assert once.preprocess.startswith("b6108bdc74fa")
