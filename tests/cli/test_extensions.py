"""What an installed package brings, in a process that has it installed."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def call(tmp_path):
    """A way to call the command line beside an installed module."""
    about = tmp_path / "brings_one-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: brings-one\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[keras_split.extensions]\none = brings_one\n"
    )

    def run(code, *arguments):
        (tmp_path / "brings_one.py").write_text(code)
        path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
        return subprocess.run(
            [sys.executable, "-m", "keras_split_cli", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "COLUMNS": "80", "PYTHONPATH": path},
        )

    return run


def test_what_an_installed_package_brings_can_be_named(call):
    code = (
        "from keras_split import formats\n"
        "formats.register(formats.Integer(1))\n"
    )

    result = call(code, "zoo", "list", "--quantization", "int1")

    assert result.returncode == 0, result.stderr
    assert "int1 on the link" in result.stdout


def test_a_package_that_cannot_be_imported_is_named(call):
    result = call("import nowhere_to_be_found\n", "zoo", "list")

    assert result.returncode == 1
    assert "which brings-one names" in result.stderr
    assert "nowhere_to_be_found" in result.stderr
    assert "pip uninstall brings-one" in result.stderr
