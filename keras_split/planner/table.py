"""A plan as a table: the recommendation, and what else there is."""

import html
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


def text(plan: "Plan") -> str:
    """The plan as `print` shows it."""
    rows = _rows(plan)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(
        [_title(plan), "", *lines, "", plan.reason, f"Next: {command(plan)}"]
    )


def markup(plan: "Plan") -> str:
    """The plan as a notebook shows it, in HTML."""
    rows = _rows(plan)
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
                label if len(label) < 60 else label[:57] + "...",
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
                "unknown" if cut.leakage is None else f"{cut.leakage:.2f}",
            )
        )
    return rows


def _megabytes(value: int | None) -> str:
    return "unknown" if value is None else f"{value / 1e6:.0f} MB"


def _milliseconds(value: float | None) -> str:
    return "unknown" if value is None else f"{1e3 * value:,.0f} ms"
