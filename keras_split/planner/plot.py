"""A picture of a plan: every cut by what it costs."""

import html
import io
import os
from pathlib import Path
from typing import Any

from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.planner import table
from keras_split.planner.plan import Plan
from keras_split.planner.scored import Scored
from keras_split.utils.extras import install


def plot(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Draws a plan's cuts by bytes and time, or by bytes and parameters.

    Args:
        plan: The plan.
        path: Of the picture, such as plan.png; or of a page with picture and
            table, plan.html.

    Raises:
        BackendError: If matplotlib is not installed.
        DataError: If there is no such format.
    """
    made = figure(plan)
    if Path(path).suffix.lower() == ".html":
        Path(path).write_text(_page(plan, made), "utf-8")
        return
    try:
        made.savefig(path, dpi=150)
    except ValueError as error:
        raise DataError(
            "Expected a picture's file name, such as plan.png, or plan.html. "
            f"Received: {os.fspath(path)!r} ({error})."
        ) from error


def figure(plan: Plan) -> Any:
    """The same picture as a figure of matplotlib.

    Args:
        plan: The plan.

    Raises:
        BackendError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendError(
            "Expected matplotlib, which draws plans. Received: "
            f"{error}. Run: {install('plots')}"
        ) from error
    timed = plan.best.seconds is not None

    def point(cut: Scored) -> tuple[float, float]:
        if timed:
            return cut.bytes_per_sample, 1e3 * (cut.seconds or 0.0)
        return cut.bytes_per_sample, float(cut.phone_parameters)

    made = Figure(figsize=(8, 5), layout="constrained")
    axes = made.subplots()
    x, y = zip(*map(point, plan.cuts), strict=True)
    axes.scatter(x, y, s=14, color="0.75", label="fits")
    front = plan.front
    x, y = zip(*map(point, front), strict=True)
    depths = [100 * cut.depth for cut in front]
    drawn = axes.scatter(
        x, y, s=36, c=depths, cmap="viridis", label="beaten by none"
    )
    made.colorbar(drawn, label="% of multiply-adds in front of the cut")
    for cut in (*plan.cuts, *plan.beyond):
        if cut.candidate.name:
            axes.plot(*point(cut), "s", color="tab:red", markersize=5)
            axes.annotate(
                cut.candidate.name,
                point(cut),
                xytext=(6, 4),
                textcoords="offset points",
                color="tab:red",
            )
    axes.plot(
        *point(plan.best), "*", color="black", markersize=13, label="best"
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(f"bytes a sample, both ways, {plan.quantization}")
    axes.set_ylabel(
        f"ms for a batch of {plan.setting.batch}"
        if timed
        else "parameters on the phone"
    )
    axes.set_title(f"{plan.model} over {plan.setting.link}, best {plan.goal}")
    axes.legend()
    axes.grid(alpha=0.3)
    return made


def _page(plan: Plan, made: Any) -> str:
    picture = io.StringIO()
    made.savefig(picture, format="svg")
    svg = picture.getvalue()
    svg = svg[svg.index("<svg") :]
    title = html.escape(f"Where to cut {plan.model}")
    told = html.escape(table.command(plan))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}'
        "</title><style>body{font:16px sans-serif;margin:2em}td,th{padding:"
        ".2em .6em;text-align:right}td:first-child,th:first-child{text-align:"
        f"left}}</style><h1>{title}</h1>{svg}{table.markup(plan)}"
        f"<pre>{told}</pre></html>\n"
    )
