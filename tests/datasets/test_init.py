import subprocess
import sys

import numpy as np
import pytest

from keras_split import datasets
from keras_split.errors import DataError


def test_load_gives_what_keras_datasets_would():
    (x_train, y_train), (x_test, y_test) = datasets.load("fashion_mnist")

    assert x_train.shape == (6000, 28, 28) and y_train.shape == (6000,)
    assert x_test.shape == (2000, 28, 28) and y_test.shape == (2000,)
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {
        np.dtype(np.uint8)
    }


def test_load_resizes_and_adds_channels():
    (x_train, _), (x_test, _) = datasets.load(size=32, channels=3)

    assert x_train.shape == (6000, 32, 32, 3)
    assert x_test.shape == (2000, 32, 32, 3)
    assert x_train.dtype == np.uint8
    np.testing.assert_array_equal(x_train[..., 0], x_train[..., 2])


def test_load_of_the_whole_set_asks_for_the_whole_set(monkeypatch):
    train = np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.uint8)
    test = np.ones((2, 28, 28), np.uint8), np.ones(2, np.uint8)
    monkeypatch.setattr(
        datasets.fashion_mnist, "load_full", lambda: (train, test)
    )

    (x_train, _), (x_test, y_test) = datasets.load(subset=False, channels=1)

    assert x_train.shape == (3, 28, 28, 1) and x_test.shape == (2, 28, 28, 1)
    assert y_test is test[1]


@pytest.mark.parametrize("call", [datasets.load, datasets.class_names])
def test_an_unknown_data_set_is_refused_with_the_known_names(call):
    with pytest.raises(DataError, match="fashion_mnist.*'fashion'.*load_fol"):
        call("fashion")


def test_a_size_of_zero_and_two_channels_are_refused():
    with pytest.raises(DataError, match="at least 1 pixel"):
        datasets.load(size=0)
    with pytest.raises(DataError, match="channels=2"):
        datasets.load(channels=2)


def test_names_and_class_names_belong_together():
    assert datasets.names() == ("fashion_mnist",)
    assert len(datasets.class_names("fashion_mnist")) == 10


def test_importing_loads_neither_keras_nor_pillow():
    code = (
        "import sys, keras_split.datasets;"
        "print(sorted({'keras', 'tensorflow', 'PIL', 'grpc', 'click'}"
        " & set(sys.modules)))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )

    assert result.stdout.strip() == "[]", result.stderr
