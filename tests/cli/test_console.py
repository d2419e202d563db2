import subprocess
import sys

import pytest

from keras_split_cli import console


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1k"),
        (2_257_984, "2.26M"),
        (1e12, "1e+03G"),
    ],
)
def test_counts_have_three_digits(number, text):
    assert console.count(number) == text


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (512, "512 B"), (5427, "5.3 KiB"), (3 << 30, "3.0 GiB")],
)
def test_sizes_have_a_unit(nbytes, text):
    assert console.size(nbytes) == text


def test_paths_stay_whole_and_keep_their_brackets(capsys, monkeypatch):
    monkeypatch.setattr(console.out, "width", 40)
    path = "/runs/[bold]" + "x" * 60 + "/state[1].npz"

    console.tell(f"Saved to {path}")

    assert capsys.readouterr().out == f"Saved to {path}\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_work_goes_on_when_nobody_reads_what_it_prints(stream):
    """As in `train --save ... | head -3`: what it learns is to be saved."""
    program = (
        "import sys\n"
        "from keras_split_cli.console import note, tell\n"
        "sys.stdin.read()\n"
        "for _ in range(3):\n"
        f"    {'tell' if stream == 'stdout' else 'note'}('x' * 70_000)\n"
        "sys.exit(7)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        **{stream: subprocess.PIPE},
    )

    getattr(process, stream).close()
    process.stdin.close()

    assert process.wait(60) == 7


@pytest.mark.parametrize("prints", [console.tell, console.note])
def test_names_of_others_do_not_steer_the_terminal(prints, capsys):
    prints("Classes: cat\x1b]0;title\x07, größe\n\ndone")

    said = capsys.readouterr()
    assert said.out + said.err == "Classes: cat?]0;title?, größe\n\ndone\n"


def test_what_is_loaded_is_named_as_it_is(capsys):
    with console.working("Loading runs/[bold]/[/x].keras"):
        pass

    assert capsys.readouterr().err == "Loading runs/[bold]/[/x].keras ...\n"
