"""A partition as tables: what runs where, what crosses, what it costs."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_split.partition import costs
from keras_split.utils.counted import counted

if TYPE_CHECKING:
    from keras_split.partition.partition import Partition

Row = tuple[str, ...]


def text(partition: "Partition") -> str:
    """The tables as `print` shows them."""
    segments, edges = _segments(partition), _edges(partition)
    told = [line for note in _notes(partition) for line in ("", note)]
    return "\n".join(
        [_title(partition), "", *_lines(segments), "", *_lines(edges), *told]
    )


def markup(partition: "Partition") -> str:
    """The tables as a notebook shows them, in HTML."""
    tables = (_segments(partition), _edges(partition))
    return (
        f"<p>{html.escape(_title(partition))}</p>"
        + "".join(
            f"<table>{_row(rows[0], 'th')}"
            f"{''.join(_row(row, 'td') for row in rows[1:])}</table>"
            for rows in tables
        )
        + "".join(f"<p>{html.escape(note)}</p>" for note in _notes(partition))
    )


def _title(partition: "Partition") -> str:
    return f"Cut at {' and '.join(map(repr, partition.cut_names))}"


def _notes(partition: "Partition") -> list[str]:
    """What must not be missed, a sentence each."""
    return [n for n in (_shared(partition), _frozen(partition)) if n]


def _shared(partition: "Partition") -> str:
    """Which raw data leave the phone, for someone said that they may."""
    specs = partition.shared_specs
    if not specs:
        return ""
    names = " and ".join(
        f"{s.name!r} (as {s.packing}, {counted(s.bytes_per_example, 'byte')} "
        "an example)"
        for s in specs
    )
    inputs = "inputs" if len(specs) > 1 else "input"
    return f"Shared: the server gets the model {inputs} {names} as given."


def _frozen(partition: "Partition") -> str:
    """Which gradients do not travel, for nobody trains with them."""
    if partition.head.model.trainable_variables:
        return ""
    gone = "smashed data"
    body = partition.body.model
    if partition.tail is not None and not body.trainable_variables:
        gone += " and of the features"
    return f"The head is frozen: no gradients of the {gone} travel."


def _segments(partition: "Partition") -> list[Row]:
    rows: list[Row] = [
        ("segment", "runs on", "layers", "parameters", "multiply-adds")
    ]
    runs = [partition.segment_of[call] for call in partition.graph.calls]
    segments = (partition.head, partition.body, partition.tail)
    for segment in filter(None, segments):
        rows.append(
            (
                segment.name,
                "server" if segment.name == "body" else "phone",
                str(runs.count(segment.name)),
                f"{segment.model.count_params():,}",
                f"{costs.multiply_adds(segment.model):,}",
            )
        )
    return rows


def _edges(partition: "Partition") -> list[Row]:
    rows: list[Row] = [
        ("edge", "tensor", "shape", "float32 bytes", "int8 bytes")
    ]
    second = "body -> tail" if partition.tail else "body -> phone"
    for edge, tensors in (
        ("head -> body", partition.smashed),
        (second, partition.features),
        ("head -> tail", partition.skips),
    ):
        for tensor in tensors:
            size = costs.elements(tensor.shape)
            stays = edge == "head -> tail"
            rows.append(
                (
                    edge,
                    tensor.name,
                    str(tensor.shape),
                    "stays on phone" if stays else f"{4 * size:,}",
                    "" if stays else f"{size:,}",
                )
            )
    for spec in partition.shared_specs:
        taken = f"{spec.bytes_per_example:,}"
        rows.append(("input -> body", spec.name, str(spec.shape), taken, taken))
    return rows


def _lines(rows: Sequence[Row]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def _row(cells: Row, kind: str) -> str:
    inner = "".join(f"<{kind}>{html.escape(c)}</{kind}>" for c in cells)
    return f"<tr>{inner}</tr>"
