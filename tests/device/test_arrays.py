import numpy as np
import pytest
from PIL import Image

from keras_split import datasets
from keras_split.device import batches
from keras_split.errors import DataError


def order(data):
    return [int(i) for x, *_ in data for i in x]


def test_every_epoch_has_every_example_once_in_an_order_of_its_own():
    data = batches(np.arange(10), np.arange(10), 4)

    first, second = order(data), order(data)

    assert len(data) == 3
    assert first != second
    assert sorted(first) == sorted(second) == list(range(10))


def test_the_order_depends_on_seed_and_epoch_alone():
    one, other = (batches(np.arange(10), np.arange(10), 4, 5) for _ in "ab")
    epochs = [order(one) for _ in range(3)]

    other.epoch = 2

    assert order(other) == epochs[2]
    assert order(batches(np.arange(10), np.arange(10), 4, 6)) != epochs[0]


def test_x_y_and_weights_stay_together():
    data = batches(
        {"a": np.arange(6), "b": np.arange(6) * 2},
        [np.arange(6) * 3, np.arange(6) * 4],
        4,
        sample_weight=np.arange(6) * 5,
    )
    for x, y, weights in data:
        for array, factor in zip(
            (x["b"], *y, weights), (2, 3, 4, 5), strict=True
        ):
            assert array.tolist() == (x["a"] * factor).tolist()


def test_images_are_prepared_a_batch_at_a_time():
    seen = []

    def prepare(x):
        seen.append(len(x))
        return x + 1.0

    data = batches(np.zeros((5, 2)), np.zeros(5), 2, preprocess=prepare)

    assert all((x == 1.0).all() for x, _ in data)
    assert seen == [2, 2, 1]


@pytest.mark.parametrize(
    ("x", "y", "size"),
    [
        (np.zeros(3), np.zeros(4), 2),
        (np.zeros(0), np.zeros(0), 2),
        (np.zeros(3), 5, 2),
        (np.zeros(3), np.zeros(3), 0),
        ([np.zeros(3), np.zeros(2)], np.zeros(3), 2),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(x, y, size):
    with pytest.raises(DataError, match="Expected.*Received"):
        batches(x, y, size)


def test_photos_in_files_are_batches_of_the_same_order(tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(5)]
    for number, file in enumerate(files):
        Image.new("L", (2, 2), 40 * number).save(file)
    photos = datasets.Photos(files, (3, 3, 1))
    y = np.arange(5)
    streamed = batches(photos, y, 2, 1, preprocess=np.negative)
    held = batches(np.asarray(photos), y, 2, 1, preprocess=np.negative)

    for _ in range(2):
        for batch, other in zip(streamed, held, strict=True):
            np.testing.assert_array_equal(batch[0], other[0])
            np.testing.assert_array_equal(batch[1], other[1])
