"""What `--secret-file` makes, reads and refuses."""

import os
import stat

import click
import pytest

from keras_split.errors import DataError
from keras_split_cli import secret_file
from tests.cli import commands


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    commands.installed(monkeypatch)


def take(path, source="tiny", **options):
    path = None if path is None else str(path)
    return secret_file.take(path, source, **options)


def test_a_secret_is_made_once_and_for_its_owner_alone(tmp_path, capsys):
    path = tmp_path / "secret"

    first = take(path)
    said = "".join(capsys.readouterr())
    again = take(path)

    assert first == again and len(first) == 16
    assert first != take(tmp_path / "other")
    assert "Keep it from the server" in said
    assert first.hex() not in said
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_without_a_file_there_is_no_secret_to_keep(tmp_path):
    assert take(None) is None
    assert not list(tmp_path.iterdir())


def test_a_folder_keeps_one_where_nobody_names_a_file(tmp_path):
    path = tmp_path / "state" / "secret"

    first = take(None, otherwise=path)

    assert first == take(None, otherwise=path) == take(path)
    assert take(None, "client.keras", otherwise=path) is None


@pytest.mark.parametrize("content", ["", "abc", "00" * 15, "zz" * 16, "\0"])
def test_a_file_with_something_else_is_refused(tmp_path, content):
    path = tmp_path / "secret"
    path.write_text(content)

    with pytest.raises(DataError, match="32 hexadecimal digits") as error:
        take(path)

    assert len(content) < 3 or content not in str(error.value)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(DataError, match="Choose another --secret-file"):
        take(tmp_path / "file" / "secret")


def test_a_secret_for_a_file_that_has_its_weights_is_refused(tmp_path):
    with pytest.raises(click.UsageError, match="Received: client.keras"):
        take(tmp_path / "secret", "client.keras")

    assert not list(tmp_path.iterdir())
