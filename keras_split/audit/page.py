"""A report as one page of HTML that needs nothing from elsewhere."""

import base64
import io
from collections.abc import Iterable
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from keras_split.audit.pictures import Pictures
from keras_split.audit.report import Report
from keras_split.audit.summary import CAUTION
from keras_split.audit.summary import notes
from keras_split.audit.summary import summary
from keras_split.audit.table import Section
from keras_split.audit.table import sections

_TITLE = "What a server can find out"
_GAP = 2  # pixels between two pictures of a row, of which some are tiny


def page(report: Report) -> str:
    """A report as HTML, pictures in it."""
    style = resources.files(__package__).joinpath("page.css").read_text("utf-8")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_TITLE}</title><style>{style}</style></head><body>",
        f"<h1>{_TITLE}</h1>",
        '<div class="findings">',
        *(f"<p>{escape(line)}</p>" for line in summary(report)),
        "</div>",
        f'<p class="soft">{escape(CAUTION)}</p>',
    ]
    short = notes(report)
    if short:
        items = "".join(f"<li>{escape(line)}</li>" for line in short)
        parts.append(f"<h2>Read with care</h2><ul>{items}</ul>")
    if report.pictures is not None and report.pictures.rows:
        parts += _pictures(report.pictures)
    for section in sections(report):
        parts += _table(section)
    parts += _setting(report)
    return "\n".join([*parts, "</body></html>\n"])


def strip(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Images side by side, `(height, width, channels)`, uint8."""
    white = np.full((images.shape[1], _GAP, images.shape[3]), 255, "uint8")
    parts = [part for image in images for part in (image, white)][:-1]
    row: np.ndarray[Any, Any] = np.concatenate(parts, axis=1)
    return np.repeat(row, 3, axis=2) if row.shape[2] == 1 else row


def _pictures(pictures: Pictures) -> Iterable[str]:
    yield "<h2>What attacks make of a few examples</h2>"
    yield _figure("The phone's own", strip(pictures.originals))
    trials = len({row.trial for row in pictures.rows})
    for row in pictures.rows:
        name = f"{row.attack}, {row.trial}" if trials > 1 else row.attack
        yield _figure(name, strip(row.images))


def _figure(name: str, row: np.ndarray[Any, Any]) -> str:
    from matplotlib import image

    file = io.BytesIO()
    nobody: Any = {"Software": None}
    image.imsave(file, row, format="png", metadata=nobody)
    data = base64.b64encode(file.getvalue()).decode()
    words = escape(name)
    return (
        f"<figure><figcaption>{words}</figcaption>"
        f'<img alt="{words}" src="data:image/png;base64,{data}"></figure>'
    )


def _table(section: Section) -> Iterable[str]:
    yield f"<h2>{escape(section.title)}</h2>"
    yield '<div class="wide"><table><thead><tr><th></th>'
    for column in section.columns:
        yield f"<th>{escape(column).replace(chr(10), '<br>')}</th>"
    yield "</tr></thead><tbody>"
    for line in section.lines:
        cells = "".join(
            f"<td>{escape(cell)}</td>" for cell in (line.name, *line.cells)
        )
        yield f"<tr{' class=plain' * line.plain}>{cells}</tr>"
    yield "</tbody></table></div>"
    if section.words:
        yield f'<p class="soft">{escape(section.words)}</p>'


def _setting(report: Report) -> Iterable[str]:
    yield "<h2>What was attacked</h2><dl>"
    for name, value in report.setting.describe().items():
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    yield "</dl>"
    papers = dict.fromkeys(
        (f.attack, f.paper) for t in report.trials for f in t.findings
    )
    yield "<h2>Where the attacks are from</h2><dl>"
    for attack, paper in papers:
        yield f"<dt>{escape(attack)}</dt><dd>{escape(paper)}</dd>"
    yield "</dl>"
