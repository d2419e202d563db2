"""The plots of the documentation, all in one style."""

import itertools
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib import ticker
from matplotlib import transforms
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLORS = colormaps["tab10"].colors
# Where a label may stand beside its point, in points: the first that is free.
_PLACES = [
    (6, 0, "left", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
    (-6, 0, "right", "center"),
    (6, 8, "left", "bottom"),
    (6, -8, "left", "top"),
    (-6, 8, "right", "bottom"),
    (-6, -8, "right", "top"),
]
_FAR = [(3 * x, 3 * y, h, v) for x, y, h, v in _PLACES]


def axes(
    x: str, y: str, *, title: str = "", size: tuple[float, float] = (7.2, 4.2)
) -> tuple[Any, Any]:
    """An empty figure and its axes, with labels that name the units."""
    figure = Figure(size, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.set_title(title, fontsize=11)
    _tidy(axis)
    return figure, axis


def scatter(
    points: Sequence[tuple[str, float, float, float]],
    *,
    x: str,
    y: str,
    title: str = "",
    bands: Mapping[str, float] | None = None,
) -> Any:
    """Points that cost something (x, logarithmic) and reach something (y).

    Those that no other beats in both are joined by a line, the Pareto front.

    Args:
        points: `(label, cost, value, half of its 95 % interval)`.
        x: Label of the cost, with its unit.
        y: Label of the value, with its unit.
        title: Of the plot.
        bands: Values to mark with a dashed line, by label.

    Returns:
        The figure.
    """
    figure, axis = axes(x, y, title=title, size=(7.6, 5.2))
    axis.set_xscale("log")
    front = pareto([(cost, value) for _, cost, value, _ in points])
    for number, (_, cost, value, half) in enumerate(points):
        axis.errorbar(
            cost,
            value,
            yerr=half or None,
            fmt="o",
            color=COLORS[0] if number in front else "0.6",
            ecolor="0.8",
            elinewidth=1,
            markersize=5,
            zorder=3,
        )
    order = sorted(front, key=lambda i: points[i][1])
    axis.plot(
        [points[i][1] for i in order],
        [points[i][2] for i in order],
        color=COLORS[0],
        linewidth=1,
        alpha=0.5,
    )
    for name, value in (bands or {}).items():
        axis.axhline(value, color="0.5", linewidth=0.8, linestyle="--")
        axis.text(
            0.01,
            value,
            name,
            fontsize=7,
            color="0.4",
            va="bottom",
            transform=axis.get_yaxis_transform(),
        )
    axis.margins(x=0.12, y=0.1)
    _decimal(axis.xaxis)
    joined = [points[i][1:3] for i in order]
    labels = [(name, a, b) for name, a, b, _ in points]
    label(figure, axis, labels, joined)
    return figure


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str,
    y: str,
    title: str = "",
    level: tuple[str, float] | None = None,
    size: tuple[float, float] = (7.2, 4.2),
) -> Any:
    """Lines over a logarithmic axis, and perhaps a level to compare with."""
    figure, axis = axes(x, y, title=title, size=size)
    axis.set_xscale("log")
    marks = itertools.cycle("os^Dv<>")
    for (name, points), mark, color in zip(
        series.items(), marks, itertools.cycle(COLORS), strict=False
    ):
        xs, ys = zip(*sorted(points), strict=True)
        axis.plot(
            xs,
            ys,
            marker=mark,
            color=color,
            markersize=5,
            linewidth=1.3,
            label=name,
        )
    if level is not None:
        name, value = level
        axis.axhline(value, color="0.3", linestyle="--", label=name)
    axis.set_ylim(bottom=0)
    ticks = sorted({a for points in series.values() for a, _ in points})
    axis.set_xticks(ticks)
    axis.minorticks_off()
    _decimal(axis.xaxis)
    axis.legend(fontsize=8, frameon=False)
    return figure


def bars(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    x: str,
    title: str = "",
    logarithmic: bool = False,
    digits: int = 0,
) -> Any:
    """Horizontal bars: one group a name, one bar in it for each series."""
    height = 1.3 + len(groups) * (0.15 * len(series) + 0.1)
    figure, axis = axes(x, "", title=title, size=(7.2, height))
    if logarithmic:
        axis.set_xscale("log")
    width = 0.84 / len(series)
    for number, (name, values) in enumerate(series.items()):
        places = [
            group + (number - (len(series) - 1) / 2) * width
            for group in range(len(groups))
        ]
        drawn = axis.barh(
            places, values, width * 0.92, label=name, color=COLORS[number]
        )
        axis.bar_label(drawn, fmt=f"%.{digits}f", padding=2, fontsize=7)
    axis.set_yticks(range(len(groups)), groups)
    axis.set_ylim(len(groups) - 0.45, -0.55)  # the first one on top
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.12)
    if logarithmic:
        least = min(min(values) for values in series.values())
        axis.set_xlim(left=least / 2)
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        _decimal(axis.xaxis)
    if len(series) > 1:
        columns = max(1, min(len(series), 90 // max(map(len, series))))
        figure.legend(
            loc="outside lower center",
            ncols=columns,
            fontsize=8,
            frameon=False,
        )
    return figure


def pareto(points: Sequence[tuple[float, float]]) -> set[int]:
    """Indices of points that no other beats: less cost, no less value."""
    return {
        i
        for i, (cost, value) in enumerate(points)
        if not any(
            (c <= cost and v >= value) and (c, v) != (cost, value)
            for c, v in points
        )
    }


def _tidy(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="0.92", linewidth=0.7)
    axis.set_axisbelow(True)


def _decimal(axis: Any) -> None:
    """Numbers as people write them, not as powers of ten."""
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:,g}"))


def label(
    figure: Any,
    axis: Any,
    points: Sequence[tuple[str, float, float]],
    joined: Sequence[tuple[float, float]] = (),
) -> None:
    """Writes names beside points where they cover neither points nor line.

    Args:
        figure: Has a canvas of Agg.
        axis: Has the points, and no more comes into it.
        points: Name, x and y of each; without a name it is only not covered.
        joined: Points of the line.
    """
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    inside = axis.get_window_extent(renderer)
    places = axis.transData.transform([(a, b) for _, a, b in points])
    taken = [_around(place, 5) for place in places]
    line = axis.transData.transform(joined) if joined else []
    for start, stop in itertools.pairwise(line):
        for part in range(1, 30):
            taken.append(_around(start + (stop - start) * part / 30, 1))
    for name, a, b in points:
        if not name:
            continue
        for dx, dy, across, up in _PLACES + _FAR:
            text = axis.annotate(
                name,
                (a, b),
                (dx, dy),
                textcoords="offset points",
                ha=across,
                va=up,
                fontsize=8,
            )
            box = text.get_window_extent(renderer)
            free = not any(box.overlaps(other) for other in taken)
            if free and inside.containsx(box.x0) and inside.containsx(box.x1):
                break
            if (dx, dy, across, up) != _FAR[-1]:
                text.remove()
        taken.append(box)


def _around(place: Any, margin: float) -> Any:
    x, y = place
    return transforms.Bbox.from_extents(
        x - margin, y - margin, x + margin, y + margin
    )
