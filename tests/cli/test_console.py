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
