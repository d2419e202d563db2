"""What the paper's abstract says, beside what `paper.py` found."""

from dataclasses import replace

from _paper_cases import CUT
from _paper_cases import KERAS
from _paper_cases import SPLIT_LIMIT_MB
from _paper_cases import Case
from _paper_cases import Found
from _paper_cases import networks
from _paper_cases import of
from _paper_cases import peak_mb
from _paper_cases import title
from _paper_networks import FAMILIES
from _paper_networks import WHOLE
from _paper_times import spread
from _report import Report

_UNKNOWN = "not measured"
NEARLY = 1.5  # slowest beside fastest, for "nearly constant"


def claims(found: Found, report: Report) -> None:
    """A line for each thing that the abstract promises."""
    report.header("the abstract says", "here", "figures")
    for line in (
        ("six state-of-the-art neural networks", *six(found)),
        (
            "models that cannot be trained solely by a mobile device",
            *too_large(found),
        ),
        ("nearly constant time per data sample", *constant(found)),
        ("without transferring raw data to a server", *no_raw_data(found)),
    ):
        report.row(*line)
    report.end()


def fits(found: Found, case: Case, limit: int) -> bool | None:
    """Whether one trained under a limit; None if nobody tried."""
    what = found.get(replace(case, limit=limit))
    return None if what is None else bool(what["trained"])


def rescued(found: Found, limit: int) -> dict[str, Case]:
    """Networks that fail whole where they train split: the least setting.

    Args:
        found: All results.
        limit: Of the whole network, in megabytes.
    """
    able = [
        case
        for case, what in of("memory", found).items()
        if case.way not in (WHOLE, KERAS)
        and not case.limit
        and peak_mb(what) < SPLIT_LIMIT_MB
        and fits(found, replace(case, way=WHOLE), limit) is False
    ]
    able.sort(key=lambda case: (case.batch, case.way != CUT), reverse=True)
    return {case.network: case for case in able}


def six(found: Found) -> tuple[str, str]:
    """Which networks took steps."""
    trained = {
        case.network
        for case, what in of("memory", found).items()
        if case.way not in (WHOLE, KERAS) and what["trained"]
    }
    names = ", ".join(sorted(trained))
    if not names:
        return _UNKNOWN, ""
    return (
        "held" if len(trained) >= 6 else f"{len(trained)} so far",
        f"{names}: with LiteRT alone, over gRPC",
    )


def too_large(found: Found) -> tuple[str, str]:
    """Which do not fit whole, and what they take split."""
    tried = len(networks(of("memory", found)))
    if not tried:
        return _UNKNOWN, ""
    counts, told = [], []
    for limit in (512, 1024):
        able = rescued(found, limit)
        counts.append(f"{len(able)} of {tried} with {title(limit)}")
        members = "; ".join(
            f"{name} from batch {case.batch}, "
            f"{peak_mb(found[case]):.0f} MB split ({case.way})"
            for name, case in sorted(able.items())
        )
        told.append(f"{title(limit)}: {members or 'none'}")
    return f"held for {', '.join(counts)}", ". ".join(told)


def constant(found: Found) -> tuple[str, str]:
    """How much the phone's time depends on the network."""
    some = of("time", found)
    deeper = {name for more in FAMILIES.values() for name in more}
    groups = {
        "the six": [n for n in networks(some) if n not in deeper],
        **{f"{one} and deeper": [one, *m] for one, m in FAMILIES.items()},
    }
    told, holds = [], {}
    for name, members in groups.items():
        split, whole = (spread(some, members, way) for way in (CUT, WHOLE))
        if split is not None and whole is not None:
            told.append(f"{name}: split {split:.2f}, whole {whole:.2f} times")
            holds[name] = split <= NEARLY
    if not told:
        return _UNKNOWN, ""
    verdict = [
        f"{word} for {', '.join(n for n, held in holds.items() if held is is_)}"
        for word, is_ in (("held", True), ("not", False))
        if is_ in holds.values()
    ]
    return "; ".join(verdict), "; ".join(told)


def no_raw_data(found: Found) -> tuple[str, str]:
    """What crosses."""
    some = of("bytes", found)
    if not some:
        return _UNKNOWN, ""
    least, most = (
        pick(sum(what["U"]["int8"]) / 1e3 for what in some.values())
        for pick in (min, max)
    )
    return (
        "held, and it is no privacy",
        f"{least:,.0f} to {most:,.0f} kB of int8 an image cross, never "
        "images or labels; what they tell is to be audited",
    )
