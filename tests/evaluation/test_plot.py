import sys

import numpy as np
import pytest
from PIL import Image

from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.evaluation import Report
from keras_split.evaluation import plot_confusion

# Names from folders may look like formulas of matplotlib.
REPORT = Report(np.array([[3, 1], [0, 4]]), ("$a_b", "猫$"))


def test_a_picture_of_the_matrix_is_drawn(tmp_path):
    plot_confusion(REPORT, tmp_path / "confusion.png")

    with Image.open(tmp_path / "confusion.png") as image:
        colors = image.convert("RGB").getcolors(1 << 24)
    assert len(colors) > 20


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(BackendError, match="Expected matplotlib.*pip install"):
        plot_confusion(REPORT, "confusion.png")


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(DataError, match="tells classes apart"):
        plot_confusion(Report(None), tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.word"):
        plot_confusion(REPORT, tmp_path / "x.word")
