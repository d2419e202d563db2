"""The command line as a person calls it: in a process of its own.

Where a command would import TensorFlow there, it is called in this one.
"""

import os
import socket
import subprocess
import sys

import click
import pytest

from keras_split.errors import DataError
from keras_split_cli import main
from keras_split_cli.main import COMMANDS
from tests.cli import commands


def call(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "keras_split_cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


def test_without_a_command_it_shows_what_there_is():
    result = call()

    assert result.returncode in (0, 2)
    for name, summary in COMMANDS.items():
        assert name in result.stdout + result.stderr
        assert summary in result.stdout + result.stderr


@pytest.mark.parametrize(
    "command",
    [("zoo",), ("zoo", "list"), ("zoo", "show"), *((c,) for c in COMMANDS)],
)
def test_every_command_has_a_help_that_says_what_it_does(command):
    result = commands.run(*command, "--help")

    assert result.returncode == 0
    assert "Usage: keras-split " + " ".join(command) in result.stdout
    assert len(result.stdout.splitlines()) > 6


def helps(command, name):
    """A command and those below it, each with its help."""
    context = click.Context(command, info_name=name, max_content_width=80)
    yield command, command.get_help(context)
    for name, below in getattr(command, "commands", {}).items():
        yield from helps(below, name)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_fits_80_columns_and_says_what_each_option_is(name):
    command = main.cli.get_command(click.Context(main.cli), name)

    for below, text in helps(command, name):
        wide = [line for line in text.splitlines() if len(line) > 80]
        assert wide == []
        assert all(
            option.help
            for option in below.params
            if isinstance(option, click.Option)
        )


def test_an_unknown_command_is_a_wrong_call():
    result = call("fly")

    assert result.returncode == 2
    assert "No such command 'fly'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "meant"), [("trian", "'train'"), ("serv", "'serve'")]
)
def test_a_command_that_may_be_meant_is_named(name, meant):
    result = commands.run(name)

    assert result.returncode == 2
    assert f"No such command {name!r}. Did you mean {meant}" in result.stderr


def test_an_unknown_option_is_a_wrong_call():
    result = call("zoo", "list", "--colour")

    assert result.returncode == 2
    assert "--colour" in result.stderr


def test_an_error_of_ours_is_a_message_and_exit_code_1():
    result = call("zoo", "show", "alexnet")

    assert result.returncode == 1
    assert result.stderr.startswith("Error: Expected a preset: ")
    assert "Received: 'alexnet'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("place", ["front", "end"])
def test_debug_shows_the_traceback(place):
    arguments = ["zoo", "show", "alexnet"]
    arguments.insert(0 if place == "front" else 3, "--debug")

    result = call(*arguments)

    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "ZooError" in result.stderr


@pytest.mark.parametrize("command", ["serve", "train"])
def test_another_backend_is_named_and_what_to_set(command):
    result = call(command, "mobilenet_v2", KERAS_BACKEND="numpy")

    assert result.returncode == 1
    assert "'numpy' backend" in result.stderr
    assert "Set KERAS_BACKEND=tensorflow" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["serve", "train", "export"])
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("alexnet", "Expected a preset: "),
        ("mobilenet", "Did you mean mobilenet_v2? See keras-split zoo list."),
        ("missing.keras", "which is no file. keras-split "),
    ],
)
def test_a_source_that_is_not_there_is_named(
    command, source, expected, tmp_path
):
    more = ("-o", tmp_path) if command == "export" else ()

    result = commands.run(command, source, *more)

    assert result.returncode == 1
    assert expected in result.stderr
    assert repr(source) in result.stderr
    assert "Loading" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("serve", "a.keras"), "serve --save writes one when it is stopped"),
        (("train", "a.keras"), "train --save writes one, and so does client."),
        (("evaluate", "a.keras"), "train --save writes a client"),
        (("audit", "a.keras"), "train --save writes one"),
        (("join", "a.keras", "b.keras", "-o", "c.keras"), "train --save wr"),
        (("join", "here.keras", "b.keras", "-o", "c.keras"), "serve --save wr"),
    ],
)
def test_a_file_that_is_not_there_is_told_which_command_writes_it(
    arguments, advice, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.keras").touch()

    result = commands.run(*arguments)

    assert result.returncode == 1
    assert f"keras-split {advice}" in result.stderr
    assert "Loading" not in result.stderr


def test_a_file_that_keras_cannot_load_is_named(tmp_path):
    path = tmp_path / "broken.keras"
    path.write_bytes(b"not a model")

    result = commands.run("serve", path)

    assert result.returncode == 1
    assert "which client.save or server.save wrote" in result.stderr


def test_a_port_in_use_is_named(monkeypatch):
    commands.installed(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        result = commands.run(
            *("serve", "tiny", "--input-size", 32, "--port", port)
        )

    assert result.returncode == 1
    assert f"Expected to listen on 127.0.0.1:{port}" in result.stderr
    assert "Choose another --port" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_error_does_not_steer_the_terminal(monkeypatch, capsys):
    def fail(*_, **__):
        raise DataError("Expected a.\x1b]0;title\x07\nReceived: b.\r")

    monkeypatch.setattr(main.cli, "main", fail)
    with pytest.raises(SystemExit) as info:
        main.main([])

    assert info.value.code == 1
    said = capsys.readouterr().err
    assert said == "Error: Expected a.?]0;title?\nReceived: b.\n"


@pytest.mark.parametrize(
    ("command", "section", "first"),
    [
        ("serve", "What matters first", "--save"),
        ("export", "Options", "--output"),
    ],
)
def test_help_begins_with_what_is_the_commands_own(command, section, first):
    text = commands.run(command, "--help").stdout

    own = text.partition(f"\n{section}:")[2].partition("\n\n")[0]
    assert first in own and "--codec" not in own
    assert "--help" in text.partition("\nOther:")[2]


@pytest.mark.parametrize("command", ["serve", "train", "export"])
def test_help_says_where_the_number_of_classes_comes_from(command):
    text = " ".join(commands.run(command, "--help").stdout.split())

    assert "--classes N Number of classes. train counts those of" in text


def test_commands_stand_in_the_order_in_which_they_are_needed():
    text = commands.run("--help").stdout

    way = ("demo", "zoo", "serve", "train", "export", "status", "certs")
    places = [text.index(f"\n  {name} ") for name in way]
    assert places == sorted(places)
