"""What an audit prints, and the files that it writes."""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table

from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.utils.extras import install
from keras_split_cli import output_file
from keras_split_cli.console import out
from keras_split_cli.console import tell

if TYPE_CHECKING:
    from keras_split.audit import Report

PAGE, PICTURE, FIGURES = "report.html", "reconstructions.png", "report.json"


def prepared(folder: str | None) -> Path | None:
    """The folder, made if it was not there.

    Raises:
        DataError: If it cannot be, or cannot be written to.
    """
    if folder is None:
        return None
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"Expected a folder for --output. Received: {folder!r} ({error}). "
            "Choose another one."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise DataError(
            "Expected a folder that can be written to for --output. Received: "
            f"{folder!r}. Choose another one."
        )
    return path


def require_extra() -> None:
    """Checks that figures can be computed and drawn, before the work.

    Raises:
        BackendError: If a package is missing.
    """
    for package in ("matplotlib", "scipy", "sklearn"):
        if importlib.util.find_spec(package) is None:
            raise BackendError(
                "Expected the packages that an audit computes and draws with. "
                f"Received: no {package}. Run: {install('audit')}"
            )


def show(report: "Report") -> None:
    """Prints a report."""
    from keras_split.audit import summary
    from keras_split.audit.table import sections

    for section in sections(report):
        table = Table(
            box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False
        )
        table.add_column("", overflow="fold")
        for column in section.columns:
            table.add_column(column, justify="right", vertical="bottom")
        for line in section.lines:
            table.add_row(
                line.name, *line.cells, style="dim" if line.plain else None
            )
        out.print(f"\n[bold]{section.title}[/]")
        out.print(Padding(table, (0, 0, 0, 1)))
        if section.words:
            out.print(Padding(section.words, (0, 0, 0, 1)), style="dim")
    out.print()
    for words in summary.summary(report):
        out.print(words, markup=False)
    for words in summary.notes(report):
        out.print(words, markup=False, style="yellow")
    out.print(summary.CAUTION)


def write(report: "Report", folder: Path | None) -> None:
    """Writes the files, each whole or not at all.

    Raises:
        DataError: If one cannot be written.
    """
    if folder is None:
        tell("With -o FOLDER all of it is written there, pictures too.")
        return
    from keras_split.audit.drawing import draw
    from keras_split.audit.page import page

    written = [FIGURES, PAGE]
    with output_file.draft(str(folder / FIGURES)) as path:
        path.write_text(report.to_json(), "utf-8")
    with output_file.draft(str(folder / PAGE)) as path:
        path.write_text(page(report), "utf-8", "backslashreplace")
    if report.pictures is not None and report.pictures.rows:
        with output_file.draft(str(folder / PICTURE)) as path:
            draw(report.pictures, path)
        written.append(PICTURE)
    tell(f"Wrote {', '.join(written)} to {folder}")
