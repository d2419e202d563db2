"""Files and classes of the package stay small enough to be read whole."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_LINES = 450
MOST_METHODS = 20  # private ones, properties and their setters counted

# What may be larger, and why: "folder/file" or "folder/file:Class".
EXCEPTIONS: dict[str, str] = {}
PLACES = {
    "keras_split": "*.py",
    "zoo/keras_split_zoo": "*.py",
    "cli/keras_split_cli": "*.py",
    "web/client/src": "*.ts",
    "web/app/src": "*.ts*",
}
GENERATED = ("_pb2.py", "_pb2_grpc.py", "_pb.ts")


def files(place):
    """Those that people write, by their name from the root on."""
    return {
        str(path.relative_to(ROOT)): path.read_text("utf-8")
        for path in sorted((ROOT / place).rglob(PLACES[place]))
        if not path.name.endswith(GENERATED)
    }


def too_long(texts):
    """Files of more lines than a reader takes at once."""
    return {name for name, text in texts.items() if lines(text) > MOST_LINES}


def lines(text):
    return len(text.splitlines())


def too_many(texts):
    """Classes of more methods."""
    return {
        f"{name}:{node.name}"
        for name, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef) and methods(node) > MOST_METHODS
    }


def methods(node):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return sum(isinstance(entry, kinds) for entry in node.body)


def too_large(place):
    texts = files(place)
    classes = set() if place.startswith("web") else too_many(texts)
    return too_long(texts) | classes


@pytest.mark.parametrize("place", PLACES)
def test_each_file_and_class_is_read_at_once_or_says_why_not(place):
    assert len(files(place)) > 1
    assert too_large(place) <= EXCEPTIONS.keys(), (
        f"Expected {MOST_LINES} lines in a file, {MOST_METHODS} methods in a "
        "class at most. Find the noun in it that deserves a file or a class of "
        "its own, or say in EXCEPTIONS why there is none."
    )


def test_an_exception_is_still_one():
    assert EXCEPTIONS.keys() <= set().union(*map(too_large, PLACES))


def test_what_is_too_large_is_found():
    body = "".join(f"    def m{n}(self): ...\n" for n in range(MOST_METHODS))
    setter = "    @m0.setter\n    def m0(self, value): ...\n"
    texts = {
        "fits.py": f"class A:\n{body}" + "\n" * (MOST_LINES - 21),
        "many.py": f"class B:\n{body}{setter}",
        "long.py": "\n" * (MOST_LINES + 1),
    }

    assert too_long(texts) == {"long.py"}
    assert too_many(texts) == {"many.py:B"}
