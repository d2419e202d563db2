import numpy as np
import pytest

from keras_split.datasets import load_npz
from keras_split.errors import DataError

X = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
Y = np.array([0, 1, 0])


@pytest.mark.parametrize("names", [("x", "y"), ("x_train", "y_train")])
def test_training_data_alone_comes_without_test_data(tmp_path, names):
    np.savez(tmp_path / "a.npz", **dict(zip(names, (X, Y), strict=True)))

    (x, y), test = load_npz(tmp_path / "a.npz")

    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    assert x.dtype == np.uint8 and test is None


@pytest.mark.parametrize("suffix", ["test", "val"])
def test_test_data_is_found(tmp_path, suffix):
    held_back = {f"x_{suffix}": X[:2], f"y_{suffix}": Y[:2]}
    np.savez_compressed(tmp_path / "a.npz", x_train=X, y_train=Y, **held_back)

    (x, _), test = load_npz(str(tmp_path / "a.npz"))

    assert test is not None
    assert len(x) == 3 and len(test[0]) == len(test[1]) == 2


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz.*no such file.*savez"):
        load_npz(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04junk"])
def test_a_file_that_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)

    with pytest.raises(DataError, match=r"a\.npz.*cannot be read"):
        load_npz(tmp_path / "a.npz")


def test_a_damaged_archive_is_named(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=X, y=Y)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[60:90] = bytes(30)
    (tmp_path / "a.npz").write_bytes(content)

    with pytest.raises(DataError, match=r"a\.npz.*cannot be read"):
        load_npz(tmp_path / "a.npz")


def test_a_single_array_is_refused(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, X)

    with pytest.raises(DataError, match="one array without a name"):
        load_npz(tmp_path / "a.npz")


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}, []], object), y=Y[:2])

    with pytest.raises(DataError, match="cannot be read.*allow_pickle"):
        load_npz(tmp_path / "a.npz")


def test_other_names_are_listed(tmp_path):
    np.savez(tmp_path / "a.npz", images=X, y=Y)

    with pytest.raises(DataError, match="Received: images, y"):
        load_npz(tmp_path / "a.npz")


def test_as_many_labels_as_images_are_needed(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y[:2])

    with pytest.raises(DataError, match="3 in 'x' and 2 in 'y'"):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:0], Y[:0], r"'x'.*\(0, 2, 4\)"),
        (X, np.array(["cat", "dog", "cat"]), "'y'.*return_inverse"),
        (np.float32(1), Y, r"'x'.*shape \(\)"),
        (X / np.where(X == 5, np.nan, 1), Y, "'x'.*1 value of NaN"),
    ],
)
def test_arrays_that_cannot_be_trained_on_are_named(tmp_path, x, y, message):
    np.savez(tmp_path / "a.npz", x=x, y=y)

    with pytest.raises(DataError, match=message):
        load_npz(tmp_path / "a.npz")
