import os
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from keras_split.datasets import Photos
from keras_split.datasets import folder
from keras_split.datasets import load_folder
from keras_split.datasets import photo
from keras_split.errors import BackendError
from keras_split.errors import DataError

CATS, DOGS = 10, 200


@pytest.fixture
def pets(tmp_path):
    """Ten dark cats and five bright dogs, every image of its own shade."""
    for name, count, shade in (("cat", 10, CATS), ("dog", 5, DOGS)):
        (tmp_path / name).mkdir()
        for n in range(count):
            image = Image.new("RGB", (6, 4), (shade + n,) * 3)
            image.save(tmp_path / name / f"{n}.png")
    return tmp_path


def test_folders_become_images_labels_and_names(pets):
    (x, y), (x_val, y_val), names = load_folder(pets, (8, 9, 3))

    assert names == ("cat", "dog")
    assert x.shape == (15, 8, 9, 3) and x.dtype == np.uint8
    assert y.dtype == np.int32 and np.bincount(y).tolist() == [10, 5]
    np.testing.assert_array_equal(y, x[:, 0, 0, 0] >= DOGS)
    assert len(np.unique(x[:, 0, 0, 0])) == 15
    assert x_val.shape == (0, 8, 9, 3) and y_val.shape == (0,)


def test_one_seed_gives_one_order_and_another_seed_another(pets):
    first = load_folder(pets, (4, 6, 1), seed=1, validation_split=0.2)
    again = load_folder(pets, (4, 6, 1), seed=1, validation_split=0.2)
    other = load_folder(pets, (4, 6, 1), seed=2, validation_split=0.2)

    np.testing.assert_array_equal(first.train[0], again.train[0])
    np.testing.assert_array_equal(first.validation[0], again.validation[0])
    assert not np.array_equal(first.train[0], other.train[0])


def test_the_training_images_are_shuffled(pets):
    (_, y), _, _ = load_folder(pets, (4, 6, 1))

    assert y.tolist() != sorted(y)


def test_each_class_holds_back_its_share(pets):
    loaded = load_folder(pets, (4, 6, 3), validation_split=0.4)

    assert np.bincount(loaded.train[1]).tolist() == [6, 3]
    assert np.bincount(loaded.validation[1]).tolist() == [4, 2]
    shades = [half[0][:, 0, 0, 0] for half in (loaded[0], loaded[1])]
    assert not np.intersect1d(*shades).size


def test_each_class_keeps_one_image_to_train_on(pets):
    loaded = load_folder(pets, (4, 6, 3), validation_split=0.99)

    assert np.bincount(loaded.train[1]).tolist() == [1, 1]


def test_progress_is_told_after_each_image(pets):
    calls = []

    load_folder(
        pets,
        (4, 6, 3),
        validation_split=0.2,
        progress=lambda done, total: calls.append((done, total)),
    )

    assert calls == [(n, 15) for n in range(1, 16)]


def test_other_files_and_hidden_folders_are_passed_over(pets):
    (pets / "README.txt").write_text("pets")
    (pets / "cat" / "notes.txt").write_text("cats")
    (pets / "cat" / "._0.png").write_bytes(b"what some systems leave behind")
    (pets / ".cache").mkdir()

    loaded = load_folder(str(pets), (4, 6, 3))

    assert len(loaded.train[0]) == 15 and loaded.class_names == ("cat", "dog")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none'\. There is no such folder"):
        load_folder(tmp_path / "none", (4, 4, 3))


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(DataError, match="file'. It is a file"):
        load_folder(tmp_path / "file", (4, 4, 3))


def test_a_folder_without_classes_is_refused(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "0.png")

    with pytest.raises(DataError, match=r"no sub-folders.*CLASS.IMAGE\.jpg"):
        load_folder(tmp_path, (4, 4, 3))


def test_an_empty_class_folder_keeps_its_number_and_is_told(pets, caplog):
    (pets / "bird").mkdir()

    (_, y), _, names = load_folder(pets, (4, 4, 3), validation_split=0.2)

    assert names == ("bird", "cat", "dog")
    assert np.bincount(y).tolist() == [0, 8, 4]
    assert "No images of bird in" in caplog.text
    assert "2 of 3 classes" in caplog.text


def test_folders_that_are_all_empty_are_refused(tmp_path):
    (tmp_path / "bird").mkdir()

    with pytest.raises(DataError, match="none in any folder of"):
        load_folder(tmp_path, (4, 4, 3), class_names=("bird", "cat"))


def test_the_folder_where_one_is_stands_in_quotes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DataError, match=r"per class: '\.'\. It has no sub"):
        load_folder(".", (4, 4, 3))
    (tmp_path / "bird").mkdir()
    with pytest.raises(DataError, match=r"in any folder of '\.'\. Lay the"):
        load_folder(".", (4, 4, 3))


def test_a_phone_with_some_classes_numbers_them_as_one_with_all(pets, caplog):
    names = ("ant", "cat", "cow", "dog", "eel")

    (x, y), _, known = load_folder(pets, (4, 6, 3), class_names=names)

    assert known == names
    np.testing.assert_array_equal(y, np.where(x[:, 0, 0, 0] < DOGS, 1, 3))
    assert "No images of ant, cow, eel in" in caplog.text


def test_given_names_in_another_order_decide_the_numbers(pets):
    (x, y), *_ = load_folder(pets, (4, 6, 3), class_names=["dog", "cat"])

    np.testing.assert_array_equal(y, x[:, 0, 0, 0] < DOGS)


def test_folders_that_are_no_given_class_are_named_with_the_nearest(pets):
    with pytest.raises(
        DataError, match=r"'cat' \(.*'Cat'\), 'dog' \(.* nearest is 'doge'\)"
    ):
        load_folder(pets, (4, 6, 3), class_names=["doge", "Cat", "eel"])


def test_an_accent_is_one_letter_or_two(tmp_path):
    """macOS gives file names with the accent apart."""
    (tmp_path / "cafe\u0301").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "cafe\u0301" / "0.png")

    (_, y), _, names = load_folder(
        tmp_path, (4, 4, 1), class_names=["bar", "caf\u00e9"]
    )

    assert y.tolist() == [1] and names == ("bar", "caf\u00e9")


def broken(pets):
    """Breaks two files in two ways."""
    (pets / "cat" / "1.png").write_bytes(b"")
    (pets / "dog" / "3.png").write_bytes(b"no image")
    return pets


@pytest.mark.parametrize("stream", [False, True])
def test_one_run_names_every_unreadable_file(pets, stream):
    with pytest.raises(DataError) as caught:
        load_folder(broken(pets), (4, 4, 3), stream=stream)

    lines = str(caught.value).splitlines()
    assert "2 that cannot, of 15" in lines[0]
    assert any("1.png: it is empty" in line for line in lines)
    assert any("3.png: it is no image" in line for line in lines)
    assert "--skip-unreadable" in lines[-1]


def test_many_unreadable_files_are_a_list_and_a_count(tmp_path):
    (tmp_path / "a").mkdir()
    for number in range(25):
        (tmp_path / "a" / f"{number}.png").write_bytes(b"")

    with pytest.raises(
        DataError, match=r"25 that .* 25 files(.*\n)*  and 5 more"
    ):
        load_folder(tmp_path, (4, 4, 3), skip_unreadable=True)


@pytest.mark.parametrize("stream", [False, True])
def test_skipped_files_are_as_if_they_were_not_there(pets, stream, caplog):
    options = {"seed": 1, "validation_split": 0.3}
    skipped = load_folder(
        *(broken(pets), (4, 6, 3)),
        **options,
        skip_unreadable=True,
        stream=stream,
    )
    assert "Left out 2 of 15 files" in caplog.text
    assert "3.png: it is no image" in caplog.text
    for name in ("cat/1.png", "dog/3.png"):
        (pets / name).unlink()

    expected = load_folder(pets, (4, 6, 3), **options)

    for part, other in zip(skipped[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(part[0], other[0])
        np.testing.assert_array_equal(part[1], other[1])


def test_a_class_whose_files_are_all_skipped_is_told(pets, caplog):
    for file in (pets / "dog").iterdir():
        file.write_bytes(b"")

    (_, y), _, names = load_folder(pets, (4, 6, 3), skip_unreadable=True)

    assert names == ("cat", "dog") and not y.any()
    assert "No images of dog" in caplog.text


def test_streamed_images_are_those_in_memory(pets):
    options = {"seed": 3, "validation_split": 0.3}

    streamed = load_folder(pets, (5, 7, 3), stream=True, **options)

    for part, other in zip(
        streamed[:2], load_folder(pets, (5, 7, 3), **options)[:2], strict=True
    ):
        assert isinstance(part[0], Photos) and part[0].shape == other[0].shape
        np.testing.assert_array_equal(part[0], other[0])
        np.testing.assert_array_equal(part[1], other[1])


@pytest.mark.parametrize(("limit", "kind"), [(0, Photos), (1440, np.ndarray)])
def test_what_is_large_is_streamed_when_nobody_says(
    pets, limit, kind, monkeypatch
):
    monkeypatch.setattr(folder, "IN_MEMORY_BYTES", limit)

    (x, _), *_ = load_folder(pets, (4, 8, 3), stream=None)

    assert isinstance(x, kind)


def test_a_missing_pillow_is_a_line_to_install_it(pets, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    photo.pillow.cache_clear()

    with pytest.raises(BackendError, match=r"pip install 'pillow"):
        load_folder(pets, (4, 4, 3))


@pytest.mark.parametrize("split", [-0.1, 1.0, float("nan")])
def test_a_share_outside_zero_to_one_is_refused(pets, split):
    with pytest.raises(DataError, match="validation_split"):
        load_folder(pets, (4, 4, 3), validation_split=split)


@pytest.mark.parametrize("shape", [(4, 4, 2), (None, None, 3), (4, 4)])
def test_an_input_shape_that_no_image_has_is_refused(pets, shape):
    with pytest.raises(DataError, match="Received: "):
        load_folder(pets, shape)


def test_the_order_is_that_of_names_whatever_the_disk_says(pets, monkeypatch):
    """Two machines with one folder train on the same batches."""
    scan = os.scandir
    expected = load_folder(pets, (4, 6, 1), validation_split=0.2)

    for backwards in (False, True):
        monkeypatch.setattr(
            os,
            "scandir",
            lambda path, backwards=backwards: nullcontext(
                sorted(scan(path), key=os.fspath, reverse=backwards)
            ),
        )
        loaded = load_folder(pets, (4, 6, 1), validation_split=0.2)

        assert loaded.class_names == expected.class_names
        for half, other in zip(loaded[:2], expected[:2], strict=True):
            np.testing.assert_array_equal(half[0], other[0])
