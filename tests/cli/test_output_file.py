"""A file that cannot be written is named before the work."""

import errno
from pathlib import Path

import pytest

from keras_split.models import ServerModel
from keras_split_cli import output_file
from keras_split_cli import serve
from tests.cli import commands


@pytest.mark.parametrize(
    ("command", "option", "name"),
    [
        (("train", "mobilenet_v2"), "--save", "client.keras"),
        (("serve", "mobilenet_v2"), "--save", "server.keras"),
        (("device", "train", "client.tflite"), "--state", "state.npz"),
        (("join", "client.keras", "server.keras"), "-o", "whole.keras"),
    ],
)
def test_a_folder_that_is_not_there_is_named_first(
    tmp_path, command, option, name
):
    more = ("--server", "127.0.0.1:9") if command[0] == "device" else ()

    result = commands.run(*command, *more, option, tmp_path / "no" / name)

    assert result.returncode == 1
    assert f"Error: Expected {option} in a folder that can" in result.stderr
    assert f"{tmp_path / 'no'} is none. Make it, or" in result.stderr
    assert "Loading" not in result.stderr


@pytest.mark.parametrize(
    ("command", "option"),
    [("train", "--resume"), ("train", "--log-dir"), ("export", "-o")],
)
def test_a_folder_that_cannot_be_made_is_named_first(tmp_path, command, option):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "below"

    result = commands.run(command, "mobilenet_v2", option, folder)

    assert result.returncode == 1
    assert f"Expected a folder for {option} that can be made" in result.stderr
    assert f"{tmp_path / 'file'} is no folder" in result.stderr
    assert "Loading" not in result.stderr


def test_a_folder_that_is_made_later_is_none_to_refuse(tmp_path):
    output_file.check_new_folder(str(tmp_path / "a" / "b"), "-o")

    assert not (tmp_path / "a").exists()


def test_what_cannot_be_written_whole_leaves_the_old_file(
    tmp_path, monkeypatch
):
    """`serve server.keras --save server.keras`, and a disk that is full."""
    _, server = commands.halves()
    server.save(tmp_path / "server.keras")
    before = (tmp_path / "server.keras").read_bytes()

    def save(self, path):
        Path(path).write_bytes(before[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(serve, "_wait", lambda *_: None)
    monkeypatch.setattr(ServerModel, "save", save)
    result = commands.run(
        *("serve", tmp_path / "server.keras", "--port", 0),
        *("--save", tmp_path / "server.keras"),
    )

    assert result.returncode == 1
    assert "No space left" in result.stderr
    assert (tmp_path / "server.keras").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["server.keras"]
