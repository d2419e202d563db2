"""What libraries write to stderr is kept back, unless they fail."""

import os

import pytest

from keras_split.errors import SplitError
from keras_split.utils.quiet import quietly


def noisy(error=None):
    with quietly():
        os.write(2, b"noise of C++\n")
        if error is not None:
            raise error


def test_noise_is_kept_back_and_what_comes_later_is_not(capfd):
    noisy()
    os.write(2, b"later\n")

    assert capfd.readouterr().err == "later\n"


def test_an_error_of_ours_has_said_it_already(capfd):
    with pytest.raises(SplitError):
        noisy(SplitError("said"))

    assert capfd.readouterr().err == ""


def test_with_any_other_error_the_noise_is_shown(capfd):
    with pytest.raises(RuntimeError):
        noisy(RuntimeError("who knows"))

    assert capfd.readouterr().err == "noise of C++\n"
