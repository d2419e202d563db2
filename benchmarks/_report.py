"""What a benchmark found: printed as it grows, and written into the docs.

A page of the documentation marks the place of a report with a pair of
comments, `<!-- name -->` and `<!-- /name -->`. Between them stands only what
a run wrote; what it means stands below.
"""

import argparse
import os
import platform
import re
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"


def write_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--write`."""
    parser.add_argument(
        "--write",
        action="store_true",
        help="Write tables and plots into docs/, too.",
    )


def machine() -> str:
    """What this runs on, for the first line of a report."""
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), TensorFlow "
        f"{version('tensorflow')}, Keras {version('keras')}"
    )


class Report:
    """Text, tables and plots of one benchmark.

    Args:
        name: Of its place in the docs.
        write: Whether `close` puts it there.
        docs: The folder of the docs.

    Attributes:
        writes: Whether it does, so that plots are worth drawing.
    """

    def __init__(
        self, name: str, *, write: bool = False, docs: Path = DOCS
    ) -> None:
        self._name = name
        self.writes = write
        self._docs = docs
        self._lines: list[str] = []
        if write:
            _page(name, docs)  # a missing place is noticed now, not in the end

    def say(self, text: str) -> None:
        """A paragraph."""
        self._add(textwrap.fill(text, 79, break_on_hyphens=False), "")

    def header(self, *columns: str) -> None:
        """Begins a table; numbers are in columns whose name ends in a colon."""
        names = [column.removesuffix(":") for column in columns]
        rules = ["---:" if c.endswith(":") else "---" for c in columns]
        self._add(_row(names), _row(rules))

    def row(self, *cells: Any) -> None:
        """A row of the table."""
        self._add(_row([str(cell) for cell in cells]))

    def end(self) -> None:
        """Ends the table."""
        self._add("")

    def plot(self, figure: Any, alt: str, name: str = "") -> None:
        """Shows a figure, if the report is written.

        Args:
            figure: Of matplotlib.
            alt: What is to be seen, for who cannot see it.
            name: Of the file, without `.png`; that of the report by default.
        """
        if self.writes:
            name = name or self._name
            path = self._docs / "assets" / f"{name}.png"
            figure.savefig(path, dpi=100, metadata={"Software": None})
            self._lines += ["", f"![{alt}](assets/{name}.png)", ""]

    def close(self) -> None:
        """Writes the report to its place."""
        if self.writes:
            page = _page(self._name, self._docs)
            text = "\n".join(self._lines).strip()
            text = re.sub(r"\n{3,}", "\n\n", text)
            page.write_text(
                replaced(page.read_text("utf-8"), self._name, text), "utf-8"
            )

    def _add(self, *lines: str) -> None:
        self._lines += lines
        print("\n".join(lines), flush=True)


def replaced(page: str, name: str, text: str) -> str:
    """A page with other text between the comments of a name."""
    pattern = _pattern(name)
    if not pattern.search(page):
        raise ValueError(
            f"Expected <!-- {name} --> and <!-- /{name} --> in the page. "
            "Received: a page without. Add them where the report belongs."
        )
    return pattern.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)


def _pattern(name: str) -> re.Pattern[str]:
    name = re.escape(name)
    return re.compile(rf"(<!-- {name} -->).*?(<!-- /{name} -->)", re.DOTALL)


def _page(name: str, docs: Path) -> Path:
    for path in sorted(docs.glob("*.md")):
        if _pattern(name).search(path.read_text("utf-8")):
            return path
    raise ValueError(
        f"Expected a page in {docs} with <!-- {name} --> and <!-- /{name} "
        "-->. Received: none. Add them where the report belongs."
    )


def _row(cells: list[str]) -> str:
    return "|" + "|".join(f" {c} " if c else " " for c in cells) + "|"
