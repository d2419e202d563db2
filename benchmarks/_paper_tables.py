"""The tables and pictures of `paper.py`, of what was measured so far."""

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from _paper_cases import CUT
from _paper_cases import KERAS
from _paper_cases import SPLIT_LIMIT_MB
from _paper_cases import Case
from _paper_cases import Found
from _paper_cases import networks
from _paper_cases import number
from _paper_cases import of
from _paper_cases import peak_mb
from _paper_cases import title
from _paper_claims import claims
from _paper_networks import WHOLE
from _paper_times import link
from _paper_times import time
from _report import Report
from _report import machine

MB = 1e6


def least_bytes(facts: Mapping[str, Any], batch: int) -> int:
    """What any step takes that computes nothing twice.

    Weights, momentum and gradients, and what layers with weights take in.
    """
    weights = 3 * 4 * int(facts["parameters"])
    return weights + 4 * batch * int(facts["layer_inputs"])


def settings(found: Found) -> list[tuple[str, int, int]]:
    """Networks, sizes and batches of which memory was measured, whole."""
    return sorted(
        {(c.network, c.size, c.batch) for c in found if c.way == WHOLE}
    )


def cuts(found: Found, network: str, size: int, batch: int) -> list[Case]:
    """Ways in which one was split, the paper's cut first."""
    return sorted(
        (
            case
            for case in found
            if (case.network, case.size, case.batch) == (network, size, batch)
            and case.way not in (WHOLE, KERAS)
            and not case.limit
        ),
        key=lambda case: case.way != CUT,
    )


def memory(found: Found, report: Report) -> None:
    """Which networks a phone trains alone, and what split ones take."""
    found = of("memory", found)
    if not settings(found):
        return
    limits = sorted({c.limit for c in found if c.way == WHOLE} - {0})
    bare = np.median(
        [w["bare_bytes"] / 1e6 for c, w in found.items() if _known(c, w)]
    )
    report.say(
        f"{machine()}; SGD with momentum, float32, LiteRT with two threads in "
        "a process without TensorFlow. MB are 10^6 bytes, the most that was "
        "resident beyond a bare process: of Python with numpy and LiteRT "
        f"({bare:.0f} MB), or, for Keras, with TensorFlow; gRPC counts. Least: "
        "weights, momentum, gradients, and what layers with weights take in, "
        "kept once. Limits are on private memory beyond the bare process, "
        f"1 GB as 1,024 MB; that of the split phone is {SPLIT_LIMIT_MB} MB."
    )
    report.header(
        *("network", "image:", "batch:", "parameters:", "least MB:"),
        *("Keras MB:", "whole MB:"),
        *(f"whole in {title(limit)}" for limit in limits),
        *("cut", "split MB:", f"split in {SPLIT_LIMIT_MB} MB"),
    )
    bars: dict[str, list[float]] = {"whole": [], "split": []}
    groups = []
    for network, size, batch in settings(found):
        whole = Case("memory", network, WHOLE, size, batch)
        about = found[whole]["facts"]
        alone = [_whole(found, whole, limit) for limit in limits]
        keras = found.get(Case("memory", network, KERAS, size, batch))
        cells = [
            *(network, str(size), str(batch), f"{about['parameters']:,}"),
            number(least_bytes(about, batch) / MB),
            number(peak_mb(keras)),
            number(peak_mb(found[whole])),
            *alone,
        ]
        for case in cuts(found, network, size, batch):
            limited = replace(case, limit=SPLIT_LIMIT_MB)
            peak = peak_mb(found[case])
            fits = _fits(found.get(limited))
            report.row(*cells, case.way, number(peak), fits)
            groups.append(f"{network} {size}, batch {batch}, {case.way}")
            bars["whole"].append(peak_mb(found[whole]))
            bars["split"].append(peak)
            cells = [""] * len(cells)
        if any(cells):  # whole so far
            report.row(*cells, "", "", "")
    report.end()
    report.say(_failures(found))
    kept = [i for i, value in enumerate(bars["whole"]) if np.isfinite(value)]
    if kept and report.writes:
        import _plots

        figure = _plots.bars(
            [groups[i] for i in kept],
            {name: [values[i] for i in kept] for name, values in bars.items()},
            x="MB of the phone's process at most (logarithmic)",
            logarithmic=True,
        )
        for limit in limits:
            figure.axes[0].axvline(limit, color="0.6", linestyle="--", zorder=0)
        report.plot(figure, "Bars of memory, whole beside split, by network")


def _known(case: Case, what: Mapping[str, Any]) -> bool:
    return case.way != KERAS and bool(what["trained"])


def _whole(found: Found, case: Case, limit: int) -> str:
    return _fits(found.get(replace(case, limit=limit)))


def _fits(what: Mapping[str, Any] | None) -> str:
    if what is None:
        return ""
    return "trains" if what["trained"] else "**fails**"


def _failures(found: Found) -> str:
    """How processes ended that had too little."""
    ends = [w["how"] for w in found.values() if not w["trained"]]
    counts = {end: ends.count(end) for end in sorted(set(ends))}
    told = ", ".join(f"{end} ({count})" for end, count in counts.items())
    return f"What failed ended with: {told or 'nothing failed'}."


def protocol(found: Found, report: Report) -> None:
    """SplitEasy's bytes beside ours."""
    found = of("bytes", found)
    if not found:
        return
    report.say(
        "kB of one image in a step, up / down, bodies of messages: SplitEasy's "
        "JSON, gzipped on the way down, of the tensors of a real image and "
        "random weights; ours before any codec. int8 and int4 round, small "
        "also has a bottleneck of 4. The paper's cut, in a U."
    )
    codings = list(next(iter(found.values()))["U"])
    report.header(
        *("network", "image:", "SplitEasy kB:"),
        *(f"{coding} kB:" for coding in codings),
        *(f"times fewer, {coding}:" for coding in codings),
    )
    for case, what in sorted(found.items(), key=lambda one: one[0].network):
        theirs = what["spliteasy"]
        ours = [what["U"][coding] for coding in codings]
        report.row(
            *(case.network, str(case.size)),
            *(f"{u / 1e3:,.1f} / {d / 1e3:,.1f}" for u, d in (theirs, *ours)),
            *(f"{sum(theirs) / sum(one):.1f}" for one in ours),
        )
    report.end()


def learning(found: Found, report: Report) -> None:
    """Accuracy of split beside whole."""
    for part in ("learning", "learning-full"):
        some = of(part, found)
        if some:
            _learned(some, report)


def _learned(found: Found, report: Report) -> None:
    case, what = next(iter(found.items()))
    report.say(
        f"Fashion-MNIST at {case.size}x{case.size}: {what['images']:,} "
        f"training and {what['tested']:,} test images, batch {case.batch}, "
        "Adam from 0.001 to 0 along a cosine. Means over the seeds, of which "
        "each has the same weights and batches for all; in brackets the "
        "least and the most."
    )
    epochs = len(what["accuracy"])
    report.header(
        *("network", "trained", "seeds:"),
        *(f"epoch {i + 1} %:" for i in range(epochs)),
        "minus whole, points:",
    )
    curves: dict[str, list[tuple[float, float]]] = {}
    for network in networks(found):
        ways = dict.fromkeys(c.way for c in found if c.network == network)
        last: dict[str, dict[int, float]] = {}
        for way in ways:
            runs = {
                c.seed: 100 * np.array(w["accuracy"])
                for c, w in found.items()
                if (c.network, c.way) == (network, way)
            }
            last[way] = {seed: float(a[-1]) for seed, a in runs.items()}
            means = np.mean(list(runs.values()), axis=0)
            ends = [*last[way].values()]
            between = f" ({min(ends):.1f} to {max(ends):.1f})"
            paired = [
                value - last[WHOLE][seed]
                for seed, value in last[way].items()
                if seed in last.get(WHOLE, {})
            ]
            change = (
                f"{np.mean(paired):+.1f}" if paired and way != WHOLE else ""
            )
            report.row(
                *(network, WHOLE if way == WHOLE else f"split, {way}"),
                str(len(runs)),
                *(f"{value:.1f}" for value in means[:-1]),
                f"{means[-1]:.1f}" + between * (len(ends) > 1),
                change,
            )
            curves[f"{network}, {way}"] = [
                (float(i + 1), float(v)) for i, v in enumerate(means)
            ]
    report.end()


TABLES: Mapping[str, Callable[[Found, Report], None]] = MappingProxyType(
    {
        "claims": claims,
        "memory": memory,
        "time": time,
        "link": link,
        "bytes": protocol,
        "learning": learning,
    }
)
