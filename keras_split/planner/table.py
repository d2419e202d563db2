"""A plan as a table: the recommendation, and what else there is."""

import html
from itertools import compress
from typing import TYPE_CHECKING

from keras_split.planner.scored import Scored

if TYPE_CHECKING:
    from keras_split.planner.plan import Plan

Row = tuple[str, ...]
SHOWN = 10
_TITLES = (
    *("cut", "depth", "phone params", "memory", "up/sample", "down/sample"),
    *("step", "phone", "server", "link", "parts", "coding", "leakage"),
)
_UNKNOWN = "unknown"
# What a column is known from, in Python and on the command line.
_SOURCES = {
    "memory": ("phone",),
    "step": ("phone", "server"),
    "phone": ("phone",),
    "server": ("server",),
    "leakage": ("data",),
}
_OPTIONS = {
    "phone": "--phone probe",
    "server": "--server probe",
    "data": "--data FOLDER",
}


def text(plan: "Plan") -> str:
    """The plan as `print` shows it."""
    rows, unknown = _known(_rows(plan))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    said = [_missing(unknown)] if unknown else []
    return "\n".join(
        [
            *(_title(plan), "", *lines, "", *said),
            *(plan.reason, f"Next: {command(plan)}"),
        ]
    )


def markup(plan: "Plan") -> str:
    """The plan as a notebook shows it, in HTML."""
    rows, _ = _known(_rows(plan))
    cells = [
        "".join(
            f"<{kind}>{html.escape(cell)}</{kind}>"
            for cell in row
            for kind in ["td" if number else "th"]
        )
        for number, row in enumerate(rows)
    ]
    return (
        f"<p>{html.escape(_title(plan))}</p><table>"
        + "".join(f"<tr>{row}</tr>" for row in cells)
        + f"</table><p>{html.escape(plan.reason)}</p>"
    )


def command(plan: "Plan") -> str:
    """What to do next, in Python."""
    told = f"cut={plan.cut!r}, quantization={plan.quantization!r}"
    text = f"keras_split.compile(model, {told})"
    if plan.best.microbatches > 1:
        text += f", SplitStrategy(..., microbatches={plan.best.microbatches})"
    return text


def shown(plan: "Plan") -> list[Scored]:
    """The best, those of the front at even distances, and named ones."""
    front = sorted(plan.front, key=lambda cut: cut.depth)
    if len(front) > SHOWN:
        steps = [
            round(i * (len(front) - 1) / (SHOWN - 1)) for i in range(SHOWN)
        ]
        front = [front[i] for i in steps]
    named = [c for c in (*plan.cuts, *plan.beyond) if c.candidate.name]
    others = {id(c): c for c in (*front, *named) if c is not plan.best}
    return [plan.best, *sorted(others.values(), key=lambda cut: cut.depth)]


def _title(plan: "Plan") -> str:
    setting = plan.setting
    phone, server = setting.phone, setting.server
    return (
        f"{plan.model}: {len(plan.cuts)} cuts fit, {len(plan.front)} of them "
        f"beaten by none. Batch {setting.batch}, link "
        f"{setting.link}, phone {phone.name if phone else 'not measured'}, "
        f"server {server.name if server else 'not measured'}; best "
        f"{plan.goal} first."
    )


def _known(rows: list[Row]) -> tuple[list[Row], list[str]]:
    """Without columns of which nothing is known; and how those are called."""
    titles, *others = rows
    known = [
        any(row[i] != _UNKNOWN for row in others) for i in range(len(titles))
    ]
    kept = [tuple(compress(row, known)) for row in rows]
    return kept, [
        t for t, is_known in zip(titles, known, strict=True) if not is_known
    ]


def _missing(columns: list[str]) -> str:
    """Why columns are left out."""
    wanted = {name for column in columns for name in _SOURCES[column]}
    options = [text for name, text in _OPTIONS.items() if name in wanted]
    return (
        f"Unknown, so left out: {', '.join(columns)}. "
        f"They take {', '.join(options)}."
    )


def _rows(plan: "Plan") -> list[Row]:
    rows: list[Row] = [_TITLES]
    for cut in shown(plan):
        name = cut.candidate.name
        label = (
            f"{name}: {cut.candidate.label}" if name else cut.candidate.label
        )
        if cut not in plan.cuts:
            label += " (does not fit)"
        rows.append(
            (
                label if len(label) < 50 else label[:47] + "...",
                f"{100 * cut.depth:.1f}%",
                f"{cut.phone_parameters:,}",
                _megabytes(cut.memory_bytes),
                f"{cut.uplink_bytes:,.0f}",
                f"{cut.downlink_bytes:,.0f}",
                *map(
                    _milliseconds,
                    (
                        cut.seconds,
                        cut.phone_seconds,
                        cut.server_seconds,
                        cut.link_seconds,
                    ),
                ),
                str(cut.microbatches),
                cut.coding,
                _UNKNOWN if cut.leakage is None else f"{cut.leakage:.2f}",
            )
        )
    return rows


def _megabytes(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value / 1e6:.0f} MB"


def _milliseconds(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{1e3 * value:,.0f} ms"
