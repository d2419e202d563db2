import numpy as np
import pytest

from keras_split import audit
from keras_split.errors import DataError
from tests.audit import answers


def test_a_perfect_guess_has_the_best_scores_in_any_range():
    x = 255 * answers.blobs(20, 0, channels=3).x - 100

    found = audit.likeness(x, x, audit.bounds_of(x))

    assert found == audit.Likeness(0.0, 1.0, 20, 60.0, 1.0)


def test_errors_of_images_are_in_parts_of_their_range():
    x = 255 * answers.blobs(20, 0).x
    guess = 255 - x

    found = audit.likeness(x, guess, (0.0, 255.0))

    error = np.mean((x / 255 - guess / 255) ** 2)
    assert found.mse == pytest.approx(error, rel=1e-5)
    assert found.psnr < 10


def test_values_outside_the_range_are_clipped():
    x = np.zeros((4, 8, 8, 1), "float32")
    x[:, 0] = 1

    found = audit.likeness(x, 5 * x - 3 * (1 - x), (0.0, 1.0))

    assert found.mse == 0


def test_what_is_no_image_has_neither_ssim_nor_psnr():
    x = np.random.default_rng(0).normal(size=(10, 5))

    found = audit.likeness(x, x + 2, audit.bounds_of(x))

    assert found.psnr is None and found.ssim is None
    assert found.mse == pytest.approx(4)


def test_a_match_is_nearer_to_its_original_than_to_any_other():
    x = np.eye(6, dtype="float32")
    guess = 0.6 * x
    guess[[0, 1]] = guess[[1, 0]]

    assert audit.likeness(x, guess, (0, 1)).match == pytest.approx(4 / 6)


def test_equal_originals_match_one_another():
    x = np.repeat(answers.blobs(3, 0).x, 2, axis=0)

    assert audit.likeness(x, x, (0, 1)).match == 1


def test_one_guess_for_all_matches_one():
    x = np.random.default_rng(0).normal(size=(50, 8))

    found = audit.likeness(x, np.broadcast_to(x.mean(0), x.shape), (-4, 4))

    assert found.match == 1 / 50


def test_a_few_guesses_are_of_the_first_and_matched_among_all():
    x = answers.blobs(20, 0).x

    found = audit.likeness(x, x[:3], (0, 1))

    assert found.mse == 0 and found.match == 1 and found.among == 20


@pytest.mark.parametrize("shape", [(4, 8, 8, 2), (21, 8, 8, 1), (0, 8, 8, 1)])
def test_guesses_of_other_shapes_are_refused(shape):
    with pytest.raises(DataError, match=r"of the first of 20 .* \(8, 8, 1\)"):
        audit.likeness(answers.blobs(20, 0).x, np.zeros(shape), (0, 1))


def test_guesses_that_are_not_finite_are_refused():
    x = answers.blobs(4, 0).x

    with pytest.raises(DataError, match="the attack diverged"):
        audit.likeness(x, np.full_like(x, np.nan), (0, 1))


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_examples_without_a_range_are_refused(value):
    with pytest.raises(DataError, match="finite values that differ"):
        audit.bounds_of(np.full((4, 2), value))


def test_the_class_mean_of_a_class_nobody_has_is_the_mean():
    public = audit.Examples(
        np.array([[0.0], [2.0], [4.0]]), np.array([0, 0, 1])
    )
    truth = audit.Examples(np.zeros((3, 1)), np.array([1, 0, 2]))

    found = audit.baselines(public, truth)

    assert found["mean image"].tolist() == [[2], [2], [2]]
    assert found["class mean"].tolist() == [[4], [1], [2]]
