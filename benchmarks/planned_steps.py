"""Whole split steps: what the planner predicts beside what they take.

    python benchmarks/planned_steps.py --prepare       # needs no quiet machine
    python benchmarks/planned_steps.py [--cuts 12] [--steps 5] [--passes 3]
    python benchmarks/planned_steps.py --table --write  # of the runs so far

Cuts of the six presets that no probe has, at batch 1 and 8, over three links.
First the machine is measured as phone and as server, by the commands that a
user has. Then each cut is trained for some steps: a phone in a process of its
own, with LiteRT and one thread, a server, and between them gRPC through a
proxy that stands for the link. What is in the results is not run again; files
are kept in --files.

Where other programs or machines take their part of the cores, the same step
takes more in one minute than in the next. With --passes all cases run several
times in turns, each pass with a probe of its own; medians are compared, and
how far single runs are from them is said.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _planned import THREADS
from _planned import Case
from _planned import Prepared
from _planned import build
from _report import Report
from _report import machine
from _report import write_option
from planner import CUTS
from planner import spread

from keras_split.planner import Profile

RESULTS = Path(__file__).with_suffix(".jsonl")
FILES = Path(tempfile.gettempdir(), "planned_steps")
LINKS = ["100M/5ms", "20M/30ms", "5M/50ms"]
BATCHES = (1, 8)


def profiles(
    folder: Path, seconds: float, number: int = 0
) -> tuple[Profile, Profile]:
    """This machine as a phone and as a server, measured as a user would.

    Once a pass: who wants it anew removes the files.
    """
    made = []
    for name, more in (
        ("phone", ["--threads", str(THREADS)]),
        ("server", ["--server"]),
    ):
        path = folder / f"{name}{number or ''}.json"
        if not path.exists():
            command = [sys.executable, "-m", "keras_split_cli", "device"]
            command += ["probe", "-o", str(path), "--seconds", str(seconds)]
            began = time.perf_counter()
            subprocess.run(
                [*command, *more], check=True, stdout=subprocess.DEVNULL
            )
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
        made.append(Profile.load(path))
    return made[0], made[1]


def known(path: Path) -> dict[Case, Any]:
    """The runs so far."""
    runs: dict[Case, Any] = {}
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            add(runs, json.loads(line))
    return runs


def add(runs: dict[Case, Any], row: Any) -> None:
    """Adds a run; of several of a case the medians count."""
    case = Case(**row["case"])
    rows = [*runs.get(case, {"rows": []})["rows"], row]
    sides = {s: median([r[s] for r in rows]) for s in ("predicted", "measured")}
    runs[case] = row | sides | {"rows": rows}


def median(runs: list[Any]) -> Any:
    """Of each figure, links included."""
    return {
        name: median([run[name] for run in runs])
        if isinstance(value, dict)
        else statistics.median(run[name] for run in runs)
        for name, value in runs[0].items()
    }


def run(
    chosen: list[Case], options: Any, runs: dict[Case, Any], links: list[str]
) -> None:
    """Makes the runs that are not there."""
    folder = options.files
    folder.mkdir(parents=True, exist_ok=True)
    todo = [
        (number, case)
        for number in range(getattr(options, "passes", 1))
        for case in chosen
        if case not in runs or len(runs[case]["rows"]) <= number
    ]
    began = time.monotonic()
    model, of = None, None
    for number, case in todo:
        if time.monotonic() - began > 60 * options.minutes:
            break
        if options.prepare and Prepared(case, folder).there:
            continue
        if of != (case.network, case.size):  # its weights may have moved
            model, of = (
                build(case.network, case.size),
                (case.network, case.size),
            )
        prepared = Prepared(case, folder, model)
        prepared.prepare()
        print(f"{case.network} {case.label} {case.batch}", flush=True)
        if options.prepare:
            continue
        phone, server = profiles(folder, options.seconds, number)
        row = {
            "case": vars(case),
            "predicted": prepared.predict(phone, server, links),
            "measured": prepared.measure(links, options.steps),
        }
        add(runs, row)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def errors(row: Any, get: Any) -> float:
    """Relative: above 0 if more was predicted than is."""
    return float(get(row["predicted"]) / get(row["measured"]) - 1)


def pair(row: Any, get: Any, scale: float, digits: int = 0) -> str:
    """Predicted / measured, as a cell."""
    one, other = (scale * get(row[s]) for s in ("predicted", "measured"))
    return f"{one:,.{digits}f} / {other:,.{digits}f}"


def judged(row: Any, get: Any, scale: float) -> str:
    """The same, with the error."""
    error = percent(errors(row, get)).replace(" ", "\N{NO-BREAK SPACE}")
    return f"{pair(row, get, scale)} ({error})"


def percent(value: float) -> str:
    """An error, as a cell."""
    return f"{100 * value:+.0f} %"


def table(runs: dict[Case, Any], links: list[str], report: Report) -> None:
    """A line for each cut and batch."""
    report.header(
        *("network", "size:", "cut", "batch:", "phone ms:", "server ms:"),
        *(f"{link} ms:" for link in links),
        *("peak MB:", "kB:"),
    )
    for case, row in runs.items():
        cells = [case.network, str(case.size), case.label, str(case.batch)]
        cells += [
            pair(row, lambda s, n=name: s[n], 1e3, 1)
            for name in ("phone", "server")
        ]
        for link in links:

            def get(side: Any, link: str = link) -> float:
                return float(side["steps"][link])

            cells.append(judged(row, get, 1e3))
        for name, scale in (("peak_bytes", 1e-6), ("bytes", 1e-3)):

            def held(side: Any, name: str = name) -> float:
                return float(side[name])

            cells.append(judged(row, held, scale))
        report.row(*cells)
    report.end()


def tell(runs: dict[Case, Any], report: Report) -> None:
    """The table, and errors by group."""
    report.say(
        f"{machine()}; phone: LiteRT with {THREADS} thread in a process of "
        "its own; int8, one microbatch, gRPC through a proxy that stands for "
        "the link. Predicted / measured, medians over steps"
        f"{_passes(runs)}; phone and server are of a step, the server's with "
        "what it takes to bring messages to it without a link; kB both ways, "
        "on the socket."
    )
    table(runs, LINKS, report)
    steps = {
        (case, link): errors(row, lambda side, n=link: side["steps"][n])
        for case, row in runs.items()
        for link in LINKS
    }
    groups: list[tuple[str, Any]] = [("all", lambda case, link: True)]
    groups += [
        (f"batch {b}", lambda case, link, b=b: case.batch == b) for b in BATCHES
    ]
    groups += [(name, lambda case, link, n=name: link == n) for name in LINKS]
    groups += [
        (name, lambda case, link, n=name: case.network == n)
        for name in dict.fromkeys(case.network for case in runs)
    ]
    report.header("steps of", "number:", "median error:", "90th percentile:")
    for name, belongs in groups:
        sizes = [100 * abs(e) for key, e in steps.items() if belongs(*key)]
        if sizes:
            middle, most = np.quantile(sizes, (0.5, 0.9))
            report.row(
                *(name, str(len(sizes)), f"{middle:.1f} %", f"{most:.1f} %")
            )
    report.end()
    for name, words in (
        *(("phone", "The phone's time"), ("server", "The server's time")),
        *(("peak_bytes", "Peak memory"), ("bytes", "Bytes")),
    ):
        found = [errors(row, lambda s, n=name: s[n]) for row in runs.values()]
        report.say(f"{spread(words, found)}.")
    alone = [
        one["measured"]["steps"][link] / row["measured"]["steps"][link] - 1
        for row in runs.values()
        for one in row["rows"]
        for link in LINKS
        if len(row["rows"]) > 1
    ]
    if alone:
        report.say(
            f"{spread('A single run beside the median of its case', alone)}."
        )


def _passes(runs: dict[Case, Any]) -> str:
    counts = [len(row["rows"]) for row in runs.values()]
    return f" and {min(counts)} runs in turns" if min(counts) > 1 else ""


def plot(runs: dict[Case, Any]) -> Any:
    """Measured over predicted steps, by preset."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    ends = [np.inf, 0.0]
    for network in dict.fromkeys(case.network for case in runs):
        rows = [row for case, row in runs.items() if case.network == network]
        x, y = (
            [1e3 * row[side]["steps"][n] for row in rows for n in LINKS]
            for side in ("predicted", "measured")
        )
        axes.loglog(x, y, ".", label=network)
        ends = [min(ends[0], *x, *y), max(ends[1], *x, *y)]
    axes.loglog(ends, ends, color="grey", linewidth=1)
    axes.set_xlabel("ms of a split step, predicted")
    axes.set_ylabel("ms, measured")
    axes.legend(fontsize=8)
    return figure


def options_of(text: str, results: Path) -> argparse.ArgumentParser:
    """What this script and planned_choice.py both ask for."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="Of each link.")
    parser.add_argument("--seconds", type=float, default=30.0, help="A probe.")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="Begin none later."
    )
    parser.add_argument("--prepare", action="store_true", help="Export alone.")
    parser.add_argument("--table", action="store_true", help="Run nothing.")
    parser.add_argument("--results", type=Path, default=results)
    parser.add_argument("--files", type=Path, default=FILES)
    return parser


def main() -> None:
    """Makes the runs that are not there, and reports all."""
    parser = options_of(__doc__, RESULTS)
    parser.add_argument("--cuts", type=int, default=12, help="How many.")
    parser.add_argument(
        "--passes", type=int, default=1, help="Of all cases, in turns."
    )
    parser.add_argument(
        "--cut",
        nargs=4,
        action="append",
        metavar=("NETWORK", "SIZE", "FIRST", "SECOND"),
        help="Others than those; may be given several times.",
    )
    write_option(parser)
    options = parser.parse_args()
    runs = known(options.results)
    cuts = CUTS[: options.cuts]
    if options.cut:
        cuts = tuple((n, int(size), *ends) for n, size, *ends in options.cut)
    chosen = [Case(*cut, batch) for cut in cuts for batch in BATCHES]
    if not options.table:
        run(chosen, options, runs, LINKS)
    if options.prepare:
        return
    if not runs:
        raise SystemExit("No runs yet: leave --table out.")
    report = Report("planned-steps", write=options.write)
    tell(runs, report)
    if options.write:
        report.plot(plot(runs), "Measured over predicted milliseconds of steps")
    report.close()


if __name__ == "__main__":
    main()
