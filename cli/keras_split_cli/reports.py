"""A report as people read it, as CSV and as JSON."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from keras_split.device.averages import line
from keras_split.evaluation import Report
from keras_split.utils.counted import counted
from keras_split.utils.plain import plain

_WHOLE = 20  # classes up to which the matrix is shown
_NAME = 32  # cells that a name may take


def text(report: Report) -> str:
    """The report for a terminal.

    Example:
    >>> import numpy as np
    >>> print(text(Report(np.array([[3, 1], [0, 4]]), ("cat", "dog"))))
    8 images
    <BLANKLINE>
    class          precision  recall      F1  images
    cat               1.0000  0.7500  0.8571       4
    dog               0.8000  1.0000  0.8889       4
    macro mean        0.9000  0.8750  0.8730
    weighted mean     0.9000  0.8750  0.8730
    <BLANKLINE>
    is / taken for  0  1
    0 cat           3  1
    1 dog           0  4
    <BLANKLINE>
    Most confused: cat taken for dog 1 time
    """
    metrics = f": {line(report.metrics)}" if report.metrics else ""
    parts = [f"{counted(report.images, 'image')}{metrics}"]
    if report.confusion is None:
        return parts[0]
    parts.append(_figures(report))
    if len(report.class_names) <= _WHOLE:
        parts.append(_matrix(report))
    confused = [
        f"{_name(one)} taken for {_name(other)} {counted(count, 'time')}"
        for one, other, count in report.confused
    ]
    if len(report.class_names) <= _WHOLE:
        confused = confused[:3]
    parts.append("Most confused: " + ("; ".join(confused) or "none"))
    return "\n\n".join(parts)


def to_json(report: Report, about: dict[str, Any]) -> str:
    """The report for programs: all of it."""
    return json.dumps(about | report.to_dict(), indent=1) + "\n"


def to_csv(report: Report) -> str:
    """A row for each class: its figures, and what it was taken for.

    Rows `macro mean` and `weighted mean` follow, then one for each metric,
    whose value is in the second column. What is not defined is empty.
    """
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    names = report.class_names if report.confusion is not None else ()
    titles = ("class", "precision", "recall", "f1", "images")
    rows.writerow([*titles, *(f"taken for {name}" for name in names)])
    if report.confusion is not None:
        for figures, counts in zip(
            report.classes, report.confusion.tolist(), strict=True
        ):
            rows.writerow([*map(_cell, vars(figures).values()), *counts])
        for title, average in _averages(report):
            rows.writerow([title, *map(_cell, vars(average).values())])
    for name, value in report.metrics.items():
        rows.writerow([name, _cell(value)])
    return file.getvalue()


def _figures(report: Report) -> str:
    rows: list[Sequence[str]] = [
        ("class", "precision", "recall", "F1", "images")
    ]
    assert report.confusion is not None
    taken = report.confusion.sum(axis=0)
    for figures, times in zip(report.classes, taken, strict=True):
        # Of a thousand classes those that there is something to say of.
        if len(report.class_names) > _WHOLE and not figures.support + times:
            continue
        rows.append(
            (
                _name(figures.name),
                *map(_number, (figures.precision, figures.recall, figures.f1)),
                f"{figures.support:,}",
            )
        )
    for title, average in _averages(report):
        rows.append((title, *map(_number, vars(average).values()), ""))
    return columns(rows)


def _matrix(report: Report) -> str:
    assert report.confusion is not None
    numbers = range(len(report.class_names))
    rows: list[Sequence[str]] = [("is / taken for", *map(str, numbers))]
    for number, name in enumerate(report.class_names):
        counts = (f"{count:,}" for count in report.confusion[number])
        rows.append((f"{number} {_name(name)}", *counts))
    return columns(rows)


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows of cells as lines; the first `left` of them start at the left."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            room = " " * (width - cell_len(cell))
            cells.append(cell + room if place < left else room + cell)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _averages(report: Report) -> list[tuple[str, Any]]:
    return [("macro mean", report.macro), ("weighted mean", report.weighted)]


def _name(name: str) -> str:
    shown = plain(name)
    return shown if len(shown) <= _NAME else f"{shown[: _NAME - 1]}…"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _cell(value: Any) -> Any:
    undefined = isinstance(value, float) and not math.isfinite(value)
    return "" if undefined else value
