"""A picture of which classes are taken for which."""

import os
import warnings

import numpy as np

from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.evaluation.report import Report
from keras_split.utils.extras import install

_WRITTEN = 20  # classes up to which numbers are written into the cells


def plot_confusion(report: Report, path: str | os.PathLike[str]) -> None:
    """Draws the confusion matrix; a row's colours are shares of its class.

    Args:
        report: What is drawn.
        path: Of the picture; its suffix says the format, such as .png.

    Raises:
        BackendError: If matplotlib is not installed.
        DataError: If there is no matrix, or no such format.
    """
    require_plots()
    if report.confusion is None:
        raise DataError(
            "Expected a model that tells classes apart, to draw which it "
            "takes for which. Received: one that does not. Leave the plot out."
        )
    from matplotlib.figure import Figure

    counts, names = report.confusion, report.class_names
    support = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(support, 1)
    inches = min(4 + 0.4 * len(names), 24.0)
    figure = Figure(figsize=(inches, inches), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    if len(names) <= 3 * _WRITTEN:
        places = range(len(names))
        axes.set_xticks(places, names, rotation=90, parse_math=False)
        axes.set_yticks(places, names, parse_math=False)
    if len(names) <= _WRITTEN:
        for (row, column), count in np.ndenumerate(counts):
            dark = shares[row, column] > 0.5
            axes.text(
                column,
                row,
                f"{count:,}",
                ha="center",
                va="center",
                color="white" if dark else "black",
            )
    try:
        with warnings.catch_warnings():
            # Of letters that its font lacks; there are boxes in their place.
            warnings.filterwarnings("ignore", "Glyph")
            figure.savefig(path, dpi=150)
    except ValueError as error:
        raise DataError(
            "Expected a picture's file name, such as confusion.png. Received: "
            f"{os.fspath(path)!r} ({error})."
        ) from error


def require_plots() -> None:
    """Checks that pictures can be drawn, before an hour of evaluation.

    Raises:
        BackendError: If not.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise BackendError(
            "Expected matplotlib, which draws pictures. Received: "
            f"{error}. Run: {install('plots')}"
        ) from error
