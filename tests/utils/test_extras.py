"""What to install is said so that it works wherever the code came from."""

import re
from importlib import metadata
from pathlib import Path

import pytest

import keras_split
from keras_split.utils import extras

ROOT = Path(keras_split.__file__).parents[1]


@pytest.mark.parametrize(
    ("extra", "package"),
    [
        ("device", "'ai-edge-litert>="),
        ("int8", "'ai-edge-quantizer>="),
        ("server", "'cryptography>="),
        ("tensorflow", "'tensorflow<3,>="),
    ],
)
def test_the_packages_of_an_extra_are_named(extra, package):
    command = extras.install(extra)

    assert command.startswith("pip install '")
    assert package in command
    assert "keras-split" not in command


def test_requirements_of_other_extras_and_with_markers_are_told_apart(
    monkeypatch,
):
    required = [
        "numpy>=1",
        'one>=2; extra == "mine"',
        "two; (python_version < '3.12') and extra == 'mine'",
        "three; extra == 'mine-too'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: required)

    assert extras.install("mine") == "pip install 'one>=2' 'two'"


def test_a_source_tree_that_is_not_installed_says_where_to_install(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)

    assert "pip install '.[device]' in the folder" in extras.install("device")


def test_no_text_names_an_index_or_a_page_that_a_wheel_lacks():
    """Comments and docstrings may: who reads them has the code."""
    strings = re.compile(r'(?<!")f?"(?:[^"\\\n]|\\.)*"(?!")')
    found = [
        f"{path.name}: {text}"
        for folder in ("keras_split", "cli", "zoo")
        for path in (ROOT / folder).rglob("*.py")
        for text in strings.findall(path.read_text("utf-8"))
        if re.search(r"keras-split\[|docs/[\w-]+\.md", text)
    ]

    assert found == []
