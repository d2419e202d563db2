"""Phones train while replicas and their front are killed.

    python benchmarks/ray_chaos.py                  # minutes for each row
    python benchmarks/ray_chaos.py --modes 10 --seeds 0
    python benchmarks/ray_chaos.py --table --write  # of the runs so far

Four phones train with `keras-split serve --replicas 2`, whose processes are
killed meanwhile: five times one that holds a body, once the front, which is
started again, with one replica more. The moments are random, in steps of all
phones together. Beside it stands the same training in peace. Mode 10 is local
SGD, with an average every 10 steps; mode 1 is a merged cohort, whose steps
replicas share out; 1+1 is the same with one replica more. Network and images
are those of phones.py. Accuracy is the mean of the four phones with the body
that the front saved, of all test images; steps are those of the audit logs. A
run that is in the results is not made again.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from _ray_training import BATCH
from _ray_training import MODES
from _ray_training import PHONES
from _ray_training import RATE
from _ray_training import REPLICAS
from _ray_training import Settings
from _ray_training import train
from _report import Report
from _report import machine
from _report import write_option
from phones import load

RESULTS = Path(__file__).with_suffix(".jsonl")


def compare(settings: Settings, data: Any) -> dict[str, Any]:
    """Trains in peace and not, and says how they differ."""
    # Where phones train one body in turns, no two trainings are the same.
    found = []
    for chaos in ((False,) if settings.merged else (False, False)) + (True,):
        with tempfile.TemporaryDirectory(prefix="ray-chaos-") as folder:
            made = train(settings, data, Path(folder), chaos)
            found.append(made)
        print(
            f"mode {settings.mode}, seed {settings.seed}: "
            f"{made.accuracy:.2f} %, {sum(map(len, made.taken))} steps, "
            f"{made.seconds:.0f} s, {made.killed}, left {made.left}",
            flush=True,
        )
    *quiet, disturbed = found
    once = [[*range(settings.steps)]] * PHONES
    return asdict(settings) | {
        "quiet": [each.accuracy for each in quiet],
        "disturbed": disturbed.accuracy,
        "killed": disturbed.killed,
        "left": disturbed.left,
        "taken": sum(map(len, disturbed.taken)),
        "once": all(each.taken == once for each in found),
        "finite": all(each.finite for each in found),
        "difference": max(
            float(np.abs(a - b).max())
            for a, b in zip(quiet[0].weights, disturbed.weights, strict=True)
        ),
        "seconds": [round(each.seconds, 1) for each in found],
    }


def tell(runs: list[dict[str, Any]], report: Report) -> None:
    """The table."""
    steps = runs[0]["steps"]
    report.say(
        f"Fashion-MNIST, {runs[0]['words']}, dealt out evenly to {PHONES} "
        f"phones; {REPLICAS} replicas; {steps:,} steps of {BATCH} images "
        f"each, SGD from {RATE} down to 0, int8; {machine()}. Killed were "
        "processes that hold a body, and the front."
    )
    report.header(
        *("mode", "seed:", "in peace %:", "killed %:", "difference:"),
        *("replicas killed:", "fronts:", "steps in logs:", "each once"),
        *("finite", "weights differ by:"),
    )
    order = [*MODES]
    for run in sorted(runs, key=lambda r: (order.index(r["mode"]), r["seed"])):
        kinds = [kind for kind, _ in run["killed"]]
        report.row(
            *(run["mode"], run["seed"]),
            ", ".join(f"{each:.2f}" for each in run["quiet"]),
            f"{run['disturbed']:.2f}",
            f"{_difference(run):+.2f}",
            *(kinds.count("replica"), kinds.count("front")),
            f"{run['taken']:,}",
            *("yes" if run[what] else "no" for what in ("once", "finite")),
            # Where phones take turns, two trainings are never the same.
            f"{run['difference']:.1g}" if run["mode"] != "10" else "",
        )
    report.end()
    for mode in order:
        found = [run for run in runs if run["mode"] == mode]
        if len(found) > 1:
            report.say(_summary(mode, found))


def _difference(run: dict[str, Any]) -> float:
    return float(run["disturbed"] - np.mean(run["quiet"]))


def _summary(mode: str, runs: list[dict[str, Any]]) -> str:
    mean = np.mean([_difference(run) for run in runs])
    text = f"Mode {mode}: {mean:+.2f} points in the mean of {len(runs)} seeds"
    apart = [
        abs(run["quiet"][0] - run["quiet"][1])
        for run in runs
        if len(run["quiet"]) > 1
    ]
    if apart:
        text += (
            f"; two trainings in peace are {np.mean(apart):.2f} points apart, "
            f"{max(apart):.2f} at most"
        )
    return text + "."


def known(path: Path) -> list[dict[str, Any]]:
    """The runs so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    """Makes the runs that are not there, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=["10", "1"]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--subset", action="store_true")
    parser.add_argument("--table", action="store_true", help="Run nothing.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    write_option(parser)
    args = parser.parse_args()
    # Fronts end with this process, also if it is asked to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runs = known(args.results)
    if not args.table:
        train_data, test, words = load(args.subset)
        for seed in args.seeds:
            for mode in args.modes:
                settings = Settings(mode, seed, args.steps, args.kills, words)
                wanted = asdict(settings).items()
                if any(wanted <= run.items() for run in runs):
                    continue
                runs.append(compare(settings, (train_data, test)))
                with args.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(runs[-1]) + "\n")
    runs = [run for run in runs if run["steps"] == args.steps]
    if not runs:
        raise SystemExit("No runs yet: leave --table out.")
    report = Report("ray-chaos", write=args.write)
    tell(runs, report)
    report.close()


if __name__ == "__main__":
    main()
