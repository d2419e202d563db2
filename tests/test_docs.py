"""Runs what the documentation shows.

The Python blocks of a page run one after the other in one namespace. A `text`
block right behind one is what it prints; `...` there stands for anything.
Data is little, and the server that a page tells to start runs in this process.
"""

import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path

import click
import keras
import numpy as np
import pytest

from keras_split import datasets
from keras_split import zoo
from keras_split_cli import console
from keras_split_cli.main import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ADDRESS = "127.0.0.1:50051"  # the server's, on every page
COMMANDS = (
    *(("zoo", "list"), ("zoo", "show"), ("serve",), ("train",), ("demo",)),
    *(("device", "train"), ("device", "evaluate"), ("export",)),
    *(("status",), ("certs",)),
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_MENTIONED = re.compile(r"`(keras-split [^`]+)`")


def read(page):
    return page.read_text("utf-8")


def blocks(page):
    """`(language, code, line, output)` of each fenced block of a page.

    `output` is the `text` block right behind it, or None.
    """
    text = read(page)
    found = []
    for match in _FENCE.finditer(text):
        behind = _FENCE.match(text, match.end() + len("\n\n"))
        output = behind[2] if behind and behind[1] == "text" else None
        line = text.count("\n", 0, match.start()) + 2
        found.append((match[1], match[2], line, output))
    return found


def whole_commands(page):
    """Each `keras-split ...` line of the shell blocks, as words."""
    shell = "".join(code for kind, code, *_ in blocks(page) if kind == "bash")
    lines = shell.replace("\\\n", " ").splitlines()
    return [
        shlex.split(line, comments=True)[1:]
        for line in lines
        if line.startswith("keras-split")
    ]


def mentioned_commands(page):
    """Each `keras-split ...` in a sentence, as words; perhaps not whole."""
    return [words.split()[1:] for words in _MENTIONED.findall(read(page))]


def find(words):
    """The command of a line, and the words behind its name."""
    command, rest = cli, list(words)
    while isinstance(command, click.Group) and rest and rest[0][0] != "-":
        name = rest.pop(0)
        command = command.get_command(click.Context(command), name)
        assert command is not None, f"keras-split {' '.join(words)}"
    return command, rest


def options(command):
    return {o for p in command.params for o in p.opts if o.startswith("--")}


def named(pages):
    return [
        pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages
    ]


def with_python():
    return [p for p in PAGES if any(kind == "python" for kind, *_ in blocks(p))]


@pytest.fixture
def little(monkeypatch, tmp_path):
    """A folder to work in, with a few images there and in the data set."""
    image = pytest.importorskip("PIL.Image")
    load = datasets.load
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        datasets,
        "load",
        lambda *args, **options: tuple(
            (x[:96], y[:96]) for x, y in load(*args, **options)
        ),
    )
    for kind in ("cat", "dog"):
        folder = tmp_path / "photos" / kind
        folder.mkdir(parents=True)
        for number in range(5):
            pixels = np.full((20, 20, 3), 40 * number, np.uint8)
            image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def served():
    """Serves server.keras, as the page says, and gives the address."""
    running = []

    def address():
        if not running:
            server = keras.saving.load_model("server.keras")
            running.append(server.serve(port=0))
        return running[0].target

    yield address
    for server in running:
        server.stop(0)


@pytest.mark.parametrize("page", named(with_python()))
def test_the_python_of_a_page_runs(page, little, served):
    namespace = {"__name__": "docs"}
    for kind, code, line, output in blocks(page):
        if kind != "python":
            continue
        if ADDRESS in code:
            code = code.replace(ADDRESS, served())
        program = compile("\n" * (line - 1) + code, page.name, "exec")
        printed = io.StringIO()

        with contextlib.redirect_stdout(printed):
            exec(program, namespace)

        assert output is None or doctest.OutputChecker().check_output(
            output,
            printed.getvalue(),
            doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
        ), f"{page.name}:{line} prints\n{printed.getvalue()}"


@pytest.mark.parametrize("page", named(PAGES))
def test_links_between_files_lead_somewhere(page):
    targets = [link.partition("#")[0] for link in _LINK.findall(read(page))]

    missing = [
        target
        for target in targets
        if target
        and "://" not in target
        and not (page.parent / target).exists()
    ]

    assert not missing


@pytest.mark.parametrize("page", named(PAGES))
def test_commands_in_shell_blocks_can_be_called(page):
    for words in whole_commands(page):
        command, rest = find(words)

        with contextlib.suppress(click.exceptions.Exit):  # --help
            command.make_context("keras-split", rest)


@pytest.mark.parametrize("page", named(PAGES))
def test_commands_in_sentences_exist(page):
    for words in mentioned_commands(page):
        command, rest = find(words)

        used = {word for word in rest if word.startswith("--")}
        assert used <= options(command) | {"--help"}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_in_the_docs(words):
    command, _ = find(words)
    page = read(ROOT / "docs" / "cli.md")

    assert {o for o in options(command) if f"`{o}`" not in page} == set()


def test_the_zoo_page_says_what_the_presets_say():
    page = read(ROOT / "docs" / "zoo.md")

    for name in zoo.names():
        preset = zoo.get(name)
        second = preset.cut().layers[1]
        assert f"| {name} | `{second}` | {preset.min_size} |" in page
        for title, cut in preset.cuts.items():
            facts = cut.facts
            costs = (
                facts.phone_parameters,
                facts.server_parameters,
                facts.phone_multiply_adds,
                facts.server_multiply_adds,
            )
            cells = " | ".join(console.count(cost) for cost in costs)
            assert f"| {title} | `{cut.layers[0]}` | {cells} |" in page
