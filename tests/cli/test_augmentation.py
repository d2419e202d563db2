import click
import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split_cli import augmentation

ALL = "flip,rotate,zoom,translate,contrast,brightness"
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)


def augmented(text, images, seed):
    kinds = augmentation.AugmentationType()(text)
    return augmentation.Augmentation(kinds, images, seed)


def test_the_same_seed_epoch_and_batch_change_images_alike():
    change = augmented(ALL, IMAGES, seed=1)
    again = augmented(ALL, IMAGES, seed=1)

    first = change(IMAGES, 0, 0)
    others = [change(IMAGES, 0, 1), change(IMAGES, 1, 0)]
    others.append(augmented(ALL, IMAGES, seed=2)(IMAGES, 0, 0))

    assert first.shape == IMAGES.shape and first.dtype == np.float32
    np.testing.assert_array_equal(again(IMAGES, 0, 0), first)
    for other in others:
        assert np.abs(other - first).max() > 1


def test_each_image_is_moved_in_its_own_way_on_both_axes():
    ramp = np.arange(64.0).reshape(1, 8, 8, 1).repeat(2, 0)

    moved = augmented("translate=0.5", ramp, seed=0)(ramp, 0, 0)

    down, right = (np.abs(np.diff(moved, axis=axis)) for axis in (1, 2))
    assert not np.array_equal(moved[0], moved[1])
    assert not np.array_equal(moved[0, ::-1], moved[0, :, ::-1])
    assert down.any() and right.any()


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_values_stay_between_black_and_white(white):
    images = (IMAGES / 255 * white).astype(np.float32)

    made = augmented("brightness=0.9,contrast=0.9", images, 0)(images, 0, 0)

    assert 0 <= made.min() < made.max() <= white
    assert np.abs(made - images).max() > 0.1 * white


@pytest.mark.parametrize(
    "text", ["flop", "flip=1", "rotate=0", "zoom=1", "translate=-1"]
)
def test_a_change_that_is_none_is_a_wrong_call(text):
    with pytest.raises(click.BadParameter, match="Received: "):
        augmented(text, IMAGES, 0)


def test_images_that_are_scaled_already_have_no_black():
    with pytest.raises(DataError, match="from -1 to 1"):
        augmented("brightness", np.array([-1.0, 1.0]), 0)
