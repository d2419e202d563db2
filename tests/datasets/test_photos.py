import pickle
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from keras_split.datasets import Photos
from keras_split.datasets import photos as module
from keras_split.datasets import to_model_input
from keras_split.errors import DataError


@pytest.fixture
def files(tmp_path):
    """Ten files, each of its own shade."""
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        Image.new("L", (3, 3), 20 * number).save(path)
    return paths


def shades(images):
    return images[..., 0, 0, 0].tolist()


def test_photos_look_like_an_array(files):
    photos = Photos(files, (4, 5, 3))

    assert photos.shape == (10, 4, 5, 3) and photos.ndim == 4
    assert len(photos) == 10 and photos.dtype == np.uint8
    array = np.asarray(photos)
    assert array.shape == photos.shape and array.dtype == np.uint8
    assert shades(array) == list(range(0, 200, 20))
    assert np.asarray(photos, np.float32).dtype == np.float32


def test_places_are_those_of_an_array(files):
    photos = Photos(files, (2, 2, 1))
    array = np.asarray(photos)

    for rows in (
        np.array([3, 0, 3, -1]),
        [1, 2],
        np.arange(10) % 2 == 0,
        np.array([], int),
        4,
        -1,
        np.int64(2),
    ):
        np.testing.assert_array_equal(photos[rows], array[rows])
    with pytest.raises(IndexError):
        photos[10]


def test_a_slice_reads_what_it_spans_and_all_stay_files(files):
    photos = Photos(files, (2, 2, 1))

    assert shades(photos[5:7]) == [100, 120]
    assert shades(photos[::-4]) == [180, 100, 20]
    assert photos[:] is photos and photos[:None] is photos
    assert photos[:10] is photos


def test_a_model_input_of_photos_is_made_batch_by_batch(files):
    photos = Photos(files, (6, 6, 3))

    x = to_model_input(photos, (4, 4, 1), "tf")

    assert isinstance(x, Photos)
    assert x.shape == (10, 4, 4, 1) and x.dtype == np.float32
    rows = np.array([7, 1])
    expected = to_model_input(np.asarray(photos), (4, 4, 1), "tf")
    np.testing.assert_array_equal(x[rows], expected[rows])
    assert x[:0].shape == (0, 4, 4, 1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(x)), expected)


def test_a_file_that_went_away_since_is_named(files):
    photos = Photos(files, (2, 2, 1))
    files[3].unlink()

    with pytest.raises(
        DataError, match=r"1 that .* 2 files:\n.*3\.png: No such"
    ):
        photos[np.array([2, 3])]


def test_files_of_more_than_a_portion_keep_their_order(files, monkeypatch):
    monkeypatch.setattr(module, "_AT_A_TIME", 3)
    out, told = np.empty((10, 1, 1, 1), np.uint8), []

    problems = module.read_photos(
        files, (1, 1, 1), out, lambda *done: told.append(done)
    )

    assert not problems and shades(out) == list(range(0, 200, 20))
    assert told == [(n, 10) for n in range(1, 11)]


def test_photos_larger_than_memory_are_read_in_what_a_batch_takes(files):
    """Ten images of 3 MiB as a model takes them, in batches of two."""
    x = to_model_input(Photos(files, (512, 512, 3)), (512, 512, 3), "tf")
    whole = 4 * np.prod(x.shape)

    tracemalloc.start()
    try:
        for start in range(0, 10, 2):
            x[np.arange(start, start + 2)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < whole / 2


def test_reading_ahead_gives_all_and_lets_errors_out():
    def numbers():
        yield from ([1], [2])
        raise DataError("no more")

    ahead = module.read_ahead(numbers())

    assert [next(ahead), next(ahead)] == [[1], [2]]
    with pytest.raises(DataError, match="no more"):
        next(ahead)
