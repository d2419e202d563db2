import logging
import os

import pytest

from keras_split.errors import DataError
from keras_split.server.fresh_files import FreshFiles


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def kept(tmp_path, now):
    """A file with a number, and what is known of it."""
    path = tmp_path / "number"
    path.write_text("1")

    def read():
        try:
            return int(path.read_text())
        except (OSError, ValueError) as error:
            raise DataError("Expected a number.") from error

    return path, FreshFiles("numbers", [path], read, clock=lambda: now[0])


def test_a_file_that_changes_is_read_again_a_second_later(kept, now):
    path, files = kept
    path.write_text("22")
    at_once = files.value

    now[0] = 1.0

    assert (at_once, files.value) == (1, 22)


def test_a_file_that_is_renamed_into_its_place_is_noticed(kept, now):
    path, files = kept
    before = path.stat()
    other = path.with_name("other")
    other.write_text("7")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)

    now[0] = 1.0

    assert files.value == 7


@pytest.mark.parametrize("spoil", ["words", None])
def test_a_file_of_no_use_leaves_the_value_and_is_said_once(
    kept, now, caplog, spoil
):
    path, files = kept
    if spoil is None:
        path.unlink()
    else:
        path.write_text(spoil)

    values = []
    for now[0] in (1.0, 2.0, 3.0):
        values.append(files.value)
    path.write_text("333")
    now[0] = 4.0

    assert values == [1, 1, 1] and files.value == 333
    assert [r.message for r in caplog.records if r.levelno > logging.INFO] == [
        "the numbers stay as they were: Expected a number."
    ]


def test_it_is_read_at_once_if_somebody_says_so(kept):
    path, files = kept
    path.write_text("5")

    files.reload()

    assert files.value == 5


def test_what_is_of_no_use_at_the_start_is_an_error(tmp_path):
    def read():
        raise DataError("Expected a number.")

    with pytest.raises(DataError):
        FreshFiles("numbers", [tmp_path / "none"], read)
