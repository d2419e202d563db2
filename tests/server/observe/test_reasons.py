"""The table of reasons against the code that gives them."""

import ast
from pathlib import Path

import pytest

import keras_split
from keras_split.protocol import reasons
from keras_split.protocol.reasons import REASONS
from keras_split.server.observe.reasons import known

SOURCES = sorted(Path(keras_split.__file__).parent.rglob("*.py"))
# Which argument is the reason: ProtocolError(text, reason) and so on.
MAX_IN_FLIGHT = {"ProtocolError": 1, "Refusal": 0, "refused": 2}


def given():
    """Each reason that the code writes out, and where."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name not in MAX_IN_FLIGHT:
                continue
            arguments = node.args[MAX_IN_FLIGHT[name] :][:1]
            arguments += [k.value for k in node.keywords if k.arg == "reason"]
            for argument in arguments:
                if isinstance(argument, ast.Constant):
                    yield argument.value, f"{path.name}:{node.lineno}"


def test_every_reason_that_the_code_gives_is_counted_as_itself():
    found = list(given())

    assert len(found) > 30
    assert [(r, place) for r, place in found if r not in REASONS] == []


def test_no_reason_is_listed_that_nobody_gives():
    table = Path(reasons.__file__)
    words = {
        node.value
        for path in SOURCES
        if path != table
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    assert REASONS - words == set()


@pytest.mark.parametrize("reason", ["", "Shape", "x" * 10_000, "a\nb", "other"])
def test_a_reason_that_a_client_made_up_is_counted_with_others(reason):
    assert known(reason) == "other"
