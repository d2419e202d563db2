"""Runs what the documentation shows.

The Python blocks of a page run one after the other in one namespace. A `text`
block right behind one is what it prints; `...` there stands for anything.
Data is little, and the server that a page tells to start runs in this process.
"""

import contextlib
import doctest
import importlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import keras
import numpy as np
import pytest

import keras_split
from keras_split import datasets
from keras_split import zoo
from keras_split_cli import console
from keras_split_cli.main import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# They export MobileNetV2, in all its forms, or train for a while.
SLOW = (
    *("docs/detecting-a-hijack.md", "docs/zoo.md", "docs/extending.md"),
    *("docs/on-the-phone.md", "docs/quickstart.md"),
    *("docs/auditing.md", "docs/text-and-transformers.md"),
)
ADDRESS = "127.0.0.1:50051"  # the server's, on every page
COMMANDS = (
    *(("zoo", "list"), ("zoo", "show"), ("serve",), ("train",), ("demo",)),
    *(("device", "train"), ("device", "evaluate"), ("device", "predict")),
    *(("device", "probe"), ("plan",)),
    *(("evaluate",), ("predict",), ("export",), ("status",)),
    *(("join",), ("show",), ("simulate",), ("audit",)),
    *(("certs",), ("certs", "add")),
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_MENTIONED = re.compile(r"`(keras-split [^`]+)`")
_SNIPPET = re.compile(r"^--8<-- \"(.+)\"$", re.MULTILINE)
_DIRECTIVE = re.compile(r"^::: (\S+)\n((?: {4}.*\n)*)", re.MULTILINE)
_PATH = re.compile(
    r"(?<![\w./-])((?:keras_split|tests|benchmarks|cli|zoo|scripts|deploy)"
    r"/[\w./-]*\w)"
)
_DOTTED = re.compile(r"(?<![\w./-])(keras_split(?:_cli|_zoo)?(?:\.\w+)+)")
# The name of a service, and of a group of entry points.
NOT_PYTHON = {"keras_split.v1.SplitTraining", "keras_split.extensions"}
ROOMS = "The rooms a step passes"


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
    """The pages that show programs; those that take long are slow."""
    return [
        pytest.param(page, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for page in PAGES
        if any(kind == "python" for kind, *_ in blocks(page))
        for name in [str(page.relative_to(ROOT))]
    ]


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


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_first_screen_says_what_phones_share_and_what_is_trained(page):
    screen = " ".join(read(ROOT / page).splitlines()[:36])

    assert "each phone keeps a head" in screen or "each has a head" in screen
    assert "many-phones" in screen
    assert '"small"` and `"tiny"` (and `bottleneck=`) train another' in screen


@pytest.mark.parametrize("page", with_python())
def test_the_python_of_a_page_runs(page, little, served):
    namespace = {"__name__": "docs"}
    for kind, code, line, output in blocks(page):
        if kind != "python" or _SNIPPET.match(code):
            continue  # a file that is shown is run by tests of its own
        if "import keras_hub" in code:
            pytest.importorskip("keras_hub")
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
def test_files_and_folders_that_a_page_names_are_there(page):
    paths = _PATH.findall(read(page)) + _SNIPPET.findall(read(page))

    assert [path for path in paths if not (ROOT / path).exists()] == []


def resolve(dotted):
    """What a name such as `keras_split.training.in_flight.X` leads to."""
    first, *rest = dotted.split(".")
    found, module = importlib.import_module(first), first
    for name in rest:
        module = f"{module}.{name}"
        if not hasattr(found, name):
            importlib.import_module(module)
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("page", named(PAGES))
def test_python_names_of_ours_on_a_page_exist(page):
    missing = []
    for dotted in sorted({*_DOTTED.findall(read(page))} - NOT_PYTHON):
        try:
            resolve(dotted)
        except (ImportError, AttributeError) as error:
            missing.append(f"{dotted}: {error}")

    assert missing == []


def public_names():
    """The name by which programs know each thing of ours that has one."""
    names = {}
    for name in keras_split.__all__:
        found = getattr(keras_split, name)
        names.setdefault(id(found), f"keras_split.{name}")
        for inner in getattr(found, "__all__", ()):
            names.setdefault(
                id(getattr(found, inner)), f"keras_split.{name}.{inner}"
            )
    return names


@pytest.mark.parametrize("page", named((ROOT / "docs/api").glob("*.md")))
def test_api_pages_name_things_as_programs_do(page):
    public = public_names()

    for path, settings in _DIRECTIVE.findall(read(page)):
        heading = re.search(r" heading: (\S+)", settings)
        shown = heading[1] if heading else path

        assert resolve(shown) is resolve(path)
        assert shown == public.get(id(resolve(path)), shown)


@pytest.mark.slow
def test_a_step_passes_the_rooms_that_the_page_says():
    page = read(ROOT / "docs" / "how-a-step-travels.md")
    section = page.partition(f"\n## {ROOMS}\n")[2].partition("\n## ")[0]
    said = {*re.findall(r"`(\w+(?:/\w+)*/\w+\.py)`", section)}

    counted = subprocess.run(
        [sys.executable, ROOT / "scripts" / "count_step_files"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )

    passed = {*re.findall(r"^(\w+/\S+\.py) ", counted.stdout, re.MULTILINE)}
    assert said and said - passed == set()
    rooms = {path.split("/")[0] for path in passed}
    assert rooms - {"utils"} == {path.split("/")[0] for path in said}


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
        takes = preset.takes
        limit = takes.get("min_size") or takes["max_sequence_length"]
        assert f"| {name} | `{second}` | {limit} |" in page
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
