import gzip
import hashlib
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from keras_split.datasets import fashion_mnist
from keras_split.errors import DataError

SCRIPT = Path(__file__).parents[2] / "scripts/make_fashion_mnist_subset.py"
SUBSET_SHA256 = (
    "794366af3f8fb5b0f3e4cc8b818b3508fdf8fd0f4eff4029c2d6a029044a86bd"
)
needs_debian_package = pytest.mark.skipif(
    not fashion_mnist.DEBIAN_PATH.is_dir(),
    reason="needs the Debian package dataset-fashion-mnist",
)


@pytest.fixture
def no_debian_package(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "DEBIAN_PATH", tmp_path / "none")


def keras_whose_download(load_data):
    data = types.SimpleNamespace(load_data=load_data)
    keras = types.ModuleType("keras")
    keras.datasets = types.SimpleNamespace(fashion_mnist=data)
    return keras


def test_every_class_has_as_many_images():
    (_, y_train), (_, y_test) = fashion_mnist.load_subset()

    assert np.bincount(y_train).tolist() == [600] * 10
    assert np.bincount(y_test).tolist() == [200] * 10
    assert len(fashion_mnist.CLASS_NAMES) == 10


def test_the_classes_are_mixed():
    (_, y_train), _ = fashion_mnist.load_subset()

    last_tenth = np.bincount(y_train[-600:], minlength=10)

    assert last_tenth.min() >= 40 and last_tenth.max() <= 80


def test_the_committed_subset_never_changes():
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_subset()

    digest = hashlib.sha256()
    for array in (x_train, y_train, x_test, y_test):
        digest.update(array.tobytes())

    assert digest.hexdigest() == SUBSET_SHA256


def test_no_image_is_in_both_training_and_test_data():
    (x_train, _), (x_test, _) = fashion_mnist.load_subset()

    train = {image.tobytes() for image in x_train}

    assert not any(image.tobytes() in train for image in x_test)


def test_the_licence_lies_beside_the_file():
    licence = fashion_mnist.SUBSET_PATH.with_name("LICENSE.fashion_mnist")

    text = licence.read_text()

    assert "MIT License" in text and "Zalando SE" in text
    assert fashion_mnist.SUBSET_PATH.stat().st_size < 4_000_000


@needs_debian_package
def test_the_committed_subset_is_what_the_script_makes():
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_subset()

    made = runpy.run_path(str(SCRIPT))["make_subset"]()

    np.testing.assert_array_equal(made["x_train"], x_train)
    np.testing.assert_array_equal(made["y_train"], y_train)
    np.testing.assert_array_equal(made["x_test"], x_test)
    np.testing.assert_array_equal(made["y_test"], y_test)


@needs_debian_package
def test_load_full_reads_the_debian_package():
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_full()

    assert x_train.shape == (60000, 28, 28) and x_test.shape == (10000, 28, 28)
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    assert x_train.flags.writeable


def test_load_full_falls_back_to_keras(no_debian_package, monkeypatch):
    train, test = (np.zeros(1), np.zeros(1)), (np.ones(1), np.ones(1))
    keras = keras_whose_download(lambda: (train, test))
    monkeypatch.setitem(sys.modules, "keras", keras)

    loaded = fashion_mnist.load_full()

    assert loaded == (train, test)


def test_a_failed_download_says_what_to_install(no_debian_package, monkeypatch):
    def fail():
        raise Exception("URL fetch failure")

    monkeypatch.setitem(sys.modules, "keras", keras_whose_download(fail))

    with pytest.raises(
        DataError, match=r"URL fetch failure.*dataset-fashion-mnist.*subset"
    ):
        fashion_mnist.load_full()


def test_a_missing_keras_says_what_to_install(no_debian_package, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)

    with pytest.raises(DataError, match=r"pip install 'keras<"):
        fashion_mnist.load_full()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "Reading it failed"),
        (gzip.compress(b"\0\0\x08\x03" + bytes(100), mtime=0), "104 bytes"),
        (gzip.compress(bytes(100_000), mtime=0)[:-20], "Reading it failed"),
    ],
)
def test_a_broken_debian_file_is_named(content, message, monkeypatch, tmp_path):
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(content)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_PATH", tmp_path)

    with pytest.raises(DataError, match=message) as caught:
        fashion_mnist.load_full()

    assert str(file) in str(caught.value)
    assert "reinstall" in str(caught.value)
