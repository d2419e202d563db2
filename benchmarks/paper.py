"""The experiments of SplitEasy's paper (HotMobile 2021), on this machine.

    python benchmarks/paper.py                            # all that is missing
    python benchmarks/paper.py --only memory --networks mobilenet_v2
    python benchmarks/paper.py --table --write            # of the runs so far

Parts, each by itself:

* memory: a network that a phone trains alone, in a process whose private
  memory is limited, beside its head and tail that train with a server.
* time: a step's time on the phone, whole and cut, also by depth. It wants a
  machine with nothing else to do; no other part does.
* bytes: what crosses, by coding, in a U and with one cut, and as SplitEasy's
  JSON.
* learning: accuracy on Fashion-MNIST, whole and cut.

A phone is LiteRT in a process of its own without TensorFlow, with two
threads. What is in the results is not measured again; files are kept in
--files, some gigabytes of them.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _paper_learning
import _paper_measure
import _paper_tables
from _paper_cases import CUT
from _paper_cases import KERAS
from _paper_cases import LIMITS_MB
from _paper_cases import PARTS
from _paper_cases import Case
from _paper_cases import Found
from _paper_cases import keep
from _paper_cases import known
from _paper_networks import FAMILIES
from _paper_networks import WHOLE
from _report import Report
from _report import write_option

RESULTS = Path(__file__).with_suffix(".jsonl")
FILES = Path(tempfile.gettempdir(), "paper")
# Networks with another cut that takes less of the phone's memory.
LIGHT = ("inception_resnet_v2", "inception_v3", "mobilenet_v2", "vgg19")
ENOUGH_MB = 1024


def cases(options: Any) -> Iterator[Case]:
    """All that is wanted, part by part."""
    for part in options.only:
        for network in options.networks:
            yield from {
                "memory": memory_cases,
                "time": time_cases,
                "bytes": bytes_cases,
                "learning": learning_cases,
            }[part](network, options)


def memory_cases(network: str, options: Any) -> Iterator[Case]:
    """Batch by batch, so that larger ones may be left out."""
    cuts = (CUT, "light") if network in LIGHT else (CUT,)
    for number, batch in enumerate(sorted(options.batches)):
        for way in (WHOLE, *cuts, *[KERAS] * (number == 0)):
            yield Case("memory", network, way, options.size, batch)


def time_cases(network: str, options: Any) -> Iterator[Case]:
    """One image, whole and cut; eight, cut; and deeper ones of a family."""
    deeper = FAMILIES.get(network, ()) if options.depth else ()
    for number in range(options.rounds):
        for name in (network, *deeper):
            for way in (WHOLE, CUT):
                yield Case("time", name, way, options.size, 1, seed=number)
        yield Case("time", network, CUT, options.size, 8, seed=number)


def bytes_cases(network: str, options: Any) -> Iterator[Case]:
    """One."""
    yield Case("bytes", network, CUT, options.size)


def learning_cases(network: str, options: Any) -> Iterator[Case]:
    """Whole and cut, from the same weights; of the networks that are asked."""
    if network not in options.learners:
        return
    part = "learning-full" if options.full else "learning"
    for seed in range(options.seeds):
        for way in (WHOLE, "float32", "int8", "int4"):
            yield Case(part, network, way, 32, 32, seed=seed)


def pointless(case: Case, found: Found) -> bool:
    """Whether its network does not fit with a smaller batch, either."""
    return case.part == "memory" and any(
        replace(other, batch=case.batch)
        == replace(case, way=WHOLE, limit=ENOUGH_MB)
        and other.batch < case.batch
        and not what["trained"]
        for other, what in found.items()
    )


def measure(case: Case, options: Any) -> Found:
    """Runs a case; those of other limits come with it."""
    if case.part == "memory":
        return _paper_measure.memory(case, options.files, options.limits_mb)
    if case.part == "time":
        return {case: _paper_measure.time(case, options.files, 2.0)}
    if case.part == "bytes":
        return {case: _paper_measure.payload(case)}
    full = case.part == "learning-full"
    return {case: _paper_learning.train(case, options.epochs, full)}


def run(options: Any, found: Found) -> None:
    """Measures what is not there."""
    began = time.monotonic()
    for case in cases(options):
        limits = [0]
        if case.part == "memory":
            limits = [*_paper_measure.limits(case, options.limits_mb)]
        ready = all(replace(case, limit=limit) in found for limit in limits)
        if ready or pointless(case, found):
            continue
        if time.monotonic() - began > 60 * options.minutes:
            return
        start = time.monotonic()
        if options.export:
            if case.part in ("memory", "time") and case.way != KERAS:
                _paper_measure.file(case, options.files)
        else:
            for one, what in measure(case, options).items():
                if one not in found:
                    found[one] = what
                    keep(options.results, one, what)
        print(f"{case}: {time.monotonic() - start:.0f} s", flush=True)


def main() -> None:
    """Makes the runs that are not there, and reports all."""
    from keras_split import zoo

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=zoo.names("images"))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument(
        "--limits-mb", type=int, nargs="+", default=LIMITS_MB, help="For whole."
    )
    parser.add_argument("--rounds", type=int, default=2, help="Of times.")
    parser.add_argument(
        "--no-depth", dest="depth", action="store_false", help="Presets alone."
    )
    parser.add_argument(
        *("--learners", "--learn"),
        nargs="+",
        default=["mobilenet_v2", "resnet50"],
        help="Networks that learn.",
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument(
        "--full", action="store_true", help="Learn from all 60,000 images."
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="Begin none later."
    )
    parser.add_argument(
        "--export", action="store_true", help="Write files, measure nothing."
    )
    parser.add_argument("--table", action="store_true", help="Run nothing.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--files", type=Path, default=FILES)
    write_option(parser)
    options = parser.parse_args()
    found = known(options.results)
    if not options.table:
        run(options, found)
    if options.export:
        return
    if not found:
        raise SystemExit("No runs yet: leave --table out.")
    for name, tell in _paper_tables.TABLES.items():
        report = Report(f"paper-{name}", write=options.write)
        tell(found, report)
        report.close()


if __name__ == "__main__":
    main()
