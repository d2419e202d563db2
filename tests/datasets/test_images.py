import numpy as np
import pytest

from keras_split.datasets import resize
from keras_split.datasets import to_channels
from keras_split.datasets import to_model_input
from keras_split.errors import DataError


@pytest.fixture
def photos():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3, 20, 30, 3), np.uint8)


def test_to_model_input_resizes_and_repeats_gray():
    gray = np.full((2, 28, 28), 7, np.uint8)

    x = to_model_input(gray, (96, 64, 3))

    assert x.shape == (2, 96, 64, 3) and x.dtype == np.float32
    np.testing.assert_allclose(x, 7.0, rtol=1e-6)


def test_to_model_input_keeps_the_range_without_preprocess(photos):
    x = to_model_input(photos, (20, 30, 3))

    np.testing.assert_array_equal(x, photos.astype(np.float32))


@pytest.mark.parametrize("preprocess", [None, "tf", "torch", "caffe"])
def test_to_model_input_leaves_the_images_alone(photos, preprocess):
    images = photos.astype(np.float32)

    x = to_model_input(images, (20, 30, 3), preprocess)

    assert not np.shares_memory(x, images)
    np.testing.assert_array_equal(images, photos)


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_the_named_preprocessing_is_that_of_keras_applications(photos, mode):
    keras = pytest.importorskip("keras")
    expected = keras.applications.imagenet_utils.preprocess_input(
        photos.astype(np.float32), mode=mode
    )

    x = to_model_input(photos, (20, 30, 3), mode)

    assert x.dtype == np.float32
    np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-5)


def test_a_function_preprocesses_at_the_end(photos):
    x = to_model_input(photos, (8, 8, 1), lambda x: x.astype("float64") / 255)

    assert x.shape == (3, 8, 8, 1) and x.dtype == np.float32
    assert 0.0 <= x.min() and x.max() <= 1.0


def test_an_unknown_preprocessing_is_refused(photos):
    with pytest.raises(DataError, match="\"tf\".*Received: 'unit'"):
        to_model_input(photos, (8, 8, 3), "unit")


def test_a_function_must_keep_the_shape(photos):
    with pytest.raises(DataError, match=r"keep the shape.*\(3, 8, 8\)"):
        to_model_input(photos, (8, 8, 3), lambda x: x[..., 0])


def test_standardizing_gray_is_refused(photos):
    with pytest.raises(DataError, match="three channels"):
        to_model_input(photos, (8, 8, 1), "caffe")


@pytest.mark.parametrize(
    "shape",
    [(8, 8), (None, None, 3), (0, 8, 3), (8.0, 8.0, 3.0), (1, 8, 8, 3)],
)
def test_an_input_shape_that_is_not_three_numbers_is_refused(photos, shape):
    with pytest.raises(DataError, match=r"\(height, width, channels\)"):
        to_model_input(photos, shape)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((28, 28)),
        np.zeros((2, 8, 8, 4)),
        np.zeros((0, 8, 8)),
        np.zeros((2, 8, 8), bool),
        np.array([["a"]]),
    ],
)
def test_arrays_that_are_no_images_are_refused(images):
    with pytest.raises(DataError, match="Expected images as numbers"):
        resize(images, (4, 4))
    with pytest.raises(DataError, match="Expected images as numbers"):
        to_channels(images, 3)


def test_resize_returns_images_of_that_size_as_they_are(photos):
    assert resize(photos, (20, 30)) is photos


@pytest.mark.parametrize("size", [(40, 60), (33, 17), (5, 6), (1, 1)])
def test_resize_computes_what_tensorflow_does(photos, size):
    tf = pytest.importorskip("tensorflow")
    expected = tf.image.resize(photos, size, antialias=True).numpy()

    resized = resize(photos.astype(np.float32), size)

    np.testing.assert_allclose(resized, expected, atol=0.01)


def test_resize_rounds_integers(photos):
    exact = resize(photos.astype(np.float32), (33, 17))

    rounded = resize(photos, (33, 17))

    assert rounded.dtype == np.uint8
    assert np.abs(rounded - exact).max() <= 0.5


def test_resize_does_many_images_as_it_does_one():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (130, 6, 6), np.uint8)

    together = resize(images, (9, 9))

    for image, resized in zip(images, together, strict=True):
        np.testing.assert_array_equal(resize(image[None], (9, 9))[0], resized)


def test_resize_to_no_pixels_is_refused(photos):
    with pytest.raises(DataError, match="at least 1 pixel"):
        resize(photos, (0, 8))


def test_rgb_becomes_gray_as_in_pillow(photos):
    image = pytest.importorskip("PIL.Image")
    expected = [np.asarray(image.fromarray(p).convert("L")) for p in photos]

    gray = to_channels(photos, 1)

    assert gray.shape == (3, 20, 30, 1) and gray.dtype == np.uint8
    difference = gray[..., 0].astype(int) - np.stack(expected)
    assert np.abs(difference).max() <= 1


def test_neither_one_nor_three_channels_is_refused(photos):
    with pytest.raises(DataError, match="channels=4"):
        to_channels(photos, 4)
