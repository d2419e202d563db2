"""The tables of `paper.py` that tell of time: on the phone, and over links."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from _link import PROFILES
from _paper_cases import CUT
from _paper_cases import Case
from _paper_cases import Found
from _paper_cases import networks
from _paper_cases import number
from _paper_cases import of
from _paper_networks import FAMILIES
from _paper_networks import WHOLE
from _report import Report
from _report import machine

from keras_split.planner.link import Link
from keras_split.planner.link import Passes
from keras_split.planner.link import Traffic
from keras_split.planner.link import step_seconds


def middle(found: Found, case: Case, name: str = "") -> float:
    """Seconds of a step, or a pass of it: the median over rounds, or NaN."""
    rounds = [
        what["passes"]
        for other, what in found.items()
        if replace(other, seed=0) == case
    ]
    if not rounds:
        return float("nan")
    return float(
        np.median([p[name] if name else sum(p.values()) for p in rounds])
    )


def time(found: Found, report: Report) -> None:
    """The phone's time per sample, whole and split, by network and depth."""
    found = of("time", found)
    if not found:
        return
    rounds = 1 + max(case.seed for case in found)
    report.say(
        f"{machine()}; one image a step, LiteRT with two threads, medians of "
        f"{rounds} round{'s' * (rounds > 1)}, each in a process of its own; "
        "ms of the phone's "
        "part alone: of the whole network, or of head and tail."
    )
    report.header(
        *("network", "image:", "million multiply-adds:", "whole ms:"),
        *("split ms:", "times less:", "times its family's first, whole:"),
        "split:",
    )
    first = {deep: one for one, more in FAMILIES.items() for deep in more}
    order = networks(found)
    for one, deeper in FAMILIES.items():
        order = [name for name in order if name not in deeper]
        if one in order:
            at = order.index(one) + 1
            order[at:at] = [n for n in deeper if n in networks(found)]
    lines: dict[str, list[float]] = {"whole": [], "split": []}
    shown = []
    for network in order:
        size = next(c.size for c in found if c.network == network)
        ways = [Case("time", network, w, size, 1) for w in (WHOLE, CUT)]
        alone, cut = (middle(found, case) for case in ways)
        about = found[ways[0]]["facts"] if ways[0] in found else None
        ratios = []
        for way, value in zip((WHOLE, CUT), (alone, cut), strict=True):
            base = Case("time", first.get(network, network), way, size, 1)
            ratios.append(value / middle(found, base))
        report.row(
            *(network, str(size)),
            number(about["multiply_adds"] / 1e6) if about else "",
            *(f"{1e3 * value:,.1f}" for value in (alone, cut)),
            f"{alone / cut:,.1f}",
            *(f"{r:.2f}" if network in first else "" for r in ratios),
        )
        if np.isfinite(alone + cut):
            shown.append(network)
            lines["whole"].append(1e3 * alone)
            lines["split"].append(1e3 * cut)
    report.end()
    for text in spreads(found):
        report.say(text)
    if shown and report.writes:
        import _plots

        figure = _plots.bars(
            shown,
            lines,
            x="ms of an image on the phone (logarithmic)",
            logarithmic=True,
        )
        report.plot(figure, "Bars of ms an image, whole beside split")


def spread(found: Found, members: Sequence[str], way: str) -> float | None:
    """How many times as long the slowest of some networks takes as the fastest.

    None if there are not two of them.
    """
    times = [
        middle(found, Case("time", case.network, way, case.size, 1))
        for case in found
        if case.network in members and case.way == way and case.batch == 1
    ]
    if len(set(times)) < 2:
        return None
    return max(times) / min(times)


def spreads(found: Found) -> list[str]:
    """How much the time depends on the network, in words."""
    deeper = {name for more in FAMILIES.values() for name in more}
    groups = {
        "the presets": [n for n in networks(found) if n not in deeper],
        **{f"{one} and deeper": [one, *m] for one, m in FAMILIES.items()},
    }
    told = []
    for name, members in groups.items():
        ratios = {w: spread(found, members, w) for w in (WHOLE, CUT)}
        words = [
            f"{'whole' if way == WHOLE else 'split'} {ratio:.2f} times"
            for way, ratio in ratios.items()
            if ratio is not None
        ]
        if words:
            told.append(f"Slowest beside fastest, {name}: {', '.join(words)}.")
    return told


def links() -> dict[str, Link]:
    """The links of `benchmarks/link.py`, as the planner has them."""
    return {
        name: Link(
            1e6 * float(p.uplink_mbit or 0),
            1e6 * float(p.downlink_mbit or 0),
            p.rtt_ms / 1e3,
        )
        for name, p in PROFILES.items()
    }


def over(
    link: Link, passes: Passes, sizes: Mapping[str, Any], u: bool, batch: int
) -> float:
    """Milliseconds of an image: the phone measured, the link computed."""
    (up, down), smashed = sizes["all"], sizes["smashed"]
    traffic = Traffic(
        batch * smashed[0],
        batch * (down - smashed[1]) if u else 0.0,
        batch * (up - smashed[0]) if u else 0.0,
        batch * smashed[1],
    )
    step = step_seconds(link, passes, traffic, labels_on_server=not u)
    return 1e3 * step / batch


def link(found: Found, report: Report) -> None:
    """Time per sample over links: bytes and rates computed, phone measured."""
    bytes_, times = of("bytes", found), of("time", found)
    rows = []
    for case, what in sorted(bytes_.items(), key=lambda one: one[0].network):
        for batch in (1, 8):
            timed = Case("time", case.network, CUT, case.size, batch)
            seconds = [
                middle(times, timed, name)
                for name in ("head_forward", "tail_step", "head_backward")
            ]
            rows.append((case.network, batch, seconds, what))
    if not rows:
        return
    report.say(
        "ms an image, of the phone's passes as measured above and of the link "
        "as its rates and round trip make it for the bytes of a step, before "
        "any codec; where the phone's is not given, of the link alone. The "
        "server's own time, which depends on the server, is not in it. Links "
        "(up / down): "
        + "; ".join(f"{n}: {p.describe()}" for n, p in PROFILES.items())
        + ". One cut sends the labels too, a number an image."
    )
    columns = [f"{name} ms:" for name in links()]
    report.header(
        *("network", "batch:", "shape", "coding", "kB up / down:"),
        *("phone ms:", *columns),
    )
    for network, batch, seconds, what in rows:
        for shape in ("U", "single"):
            for coding in what[shape]:
                plain = network == "resnet50" or len(rows) < 3
                if not plain and (shape, coding) != ("U", "int8"):
                    continue
                u = shape == "U"
                sizes = {
                    "all": what[shape][coding],
                    "smashed": what["single"][coding],
                }
                head, tail, back = np.nan_to_num(seconds)
                passes = Passes(head, 0.0, tail if u else 0.0, 0.0, back)
                up, down = (value / 1e3 for value in sizes["all"])
                phone = 1e3 * passes.phone / batch
                report.row(
                    *(network, str(batch), shape, coding),
                    f"{up:,.1f} / {down:,.1f}",
                    f"{phone:.1f}" if phone else "",
                    *(
                        f"{over(one, passes, sizes, u, batch):,.0f}"
                        for one in links().values()
                    ),
                )
    report.end()
