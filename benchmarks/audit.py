"""What a server finds out: attacks, cuts, quantizations and defenses.

    python benchmarks/audit.py                      # all: hours of two cores
    python benchmarks/audit.py --minutes 60         # as many as begin in that
    python benchmarks/audit.py --table --write      # of the runs so far

The small network of `keras-split audit` on Fashion-MNIST: private and public
images, as many of each, none in both, and test images for the accuracy. They
are drawn from all 60,000 images where Debian's or Keras' files are there, else
from the 6,000 that come with keras_split. Every run has the same budget in
steps, not in seconds, so that a busy machine changes nothing. A run that is in
the results is not made again; what tells most is run first.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _report import Report
from _report import machine
from _report import write_option

import keras_split
from keras_split import audit
from keras_split import datasets
from keras_split.audit.example import CUTS
from keras_split.audit.example import example_network
from keras_split.audit.finding import INPUTS
from keras_split.audit.finding import LABELS

RESULTS = Path(__file__).with_suffix(".jsonl")
BATCH, IMAGES, EPOCHS, TESTED = 64, 3_000, 5, 2_000
# Of decoders behind the training, in steps; the time is never what ends them.
DECODER_STEPS, MINUTES = 400, 600.0
FORMATS = ("float32", "int8", "int4", "int2", "small", "tiny")
NONE = ""


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        cut: The first cut; the other one is before the last layer.
        quantization: Of what crosses.
        defense: As `DEFENSES` has it; empty for none.
        seed: Of all chance.
    """

    cut: str = CUTS[0]
    quantization: str = "int8"
    defense: str = NONE
    seed: int = 0


DEFENSES = {
    NONE: (),
    "noise 0.1": (keras_split.defenses.GaussianNoise(0.1),),
    "noise 0.5": (keras_split.defenses.GaussianNoise(0.5),),
    "gradient noise 1": (keras_split.defenses.GradientNoise(1.0),),
    "gradient noise 4": (keras_split.defenses.GradientNoise(4.0),),
}


def plans(seeds: list[int]) -> list[Plan]:
    """All runs, those that tell most first."""
    made = []
    for seed in seeds:
        first = [
            Plan(),
            Plan(defense="gradient noise 1"),
            Plan(quantization="int2"),
            Plan(defense="noise 0.5"),
            Plan(quantization="small"),
            Plan(CUTS[2]),
            Plan(quantization="float32"),
            Plan(defense="gradient noise 4"),
            Plan(quantization="tiny"),
            Plan(CUTS[1]),
        ]
        shallow = [Plan(quantization=q) for q in FORMATS]
        shallow += [Plan(defense=name) for name in DEFENSES]
        deep = [Plan(cut, q) for cut in CUTS[1:] for q in FORMATS]
        deep += [Plan(c, defense=name) for c in CUTS[1:] for name in DEFENSES]
        made += [replace(p, seed=seed) for p in (*first, *shallow, *deep)]
    return [*dict.fromkeys(made)]


def load() -> tuple[Any, Any, Any, str]:
    """The phone's images, the attacker's, others, and which they are."""
    try:
        train, test = datasets.load(subset=False)
        words = "of all 60,000"
    except keras_split.errors.DataError:
        train, test = datasets.load()
        words = "of the 6,000 that come with keras_split"
    order = np.random.default_rng(0).permutation(len(train[1]))
    half = min(len(order) // 2, IMAGES)

    def ready(pair: Any, rows: Any) -> Any:
        x = datasets.to_model_input(pair[0][rows], (28, 28, 1), "tf")
        return x, pair[1][rows]

    mine, theirs = order[:half], order[half : 2 * half]
    return (
        ready(train, mine),
        ready(train, theirs),
        ready(test, slice(TESTED)),
        words,
    )


def run(plan: Plan, data: Any) -> audit.Report:
    """Makes one."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(plan.seed)
    private, public, test, words = data
    client, server = keras_split.compile(
        example_network(),
        [plan.cut, "features"],
        quantization=plan.quantization,
        fused_batchnorm=True,
        defenses=DEFENSES[plan.defense],
    )
    client.compile(
        keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy"
    )
    attacks = [
        audit.Clustering,
        audit.SDAR,
        partial(audit.NearestMean, "features_grad", 1),
        partial(audit.NearestMean, "features", 10),
        partial(audit.NearestMean, "smashed", 10),
        partial(audit.KnownHead, steps=DECODER_STEPS),
    ]
    if plan == Plan(seed=plan.seed):  # it is the same idea, and takes time
        attacks.append(partial(audit.InitialHead, steps=DECODER_STEPS))
    return audit.run(
        *(client, server, private, public),
        attacks=attacks,
        held_out=test,
        minutes=MINUTES,
        epochs=EPOCHS,
        batch_size=BATCH,
        seed=plan.seed,
        words={"data": words},
    )


@dataclass(frozen=True, eq=False)
class Run:
    """A run, and what came of it."""

    plan: Plan
    report: audit.Report

    def measure(self, attack: str, of: str, name: str) -> float | None:
        """A figure of an attack."""
        finding = self.report.trials[0].finding(attack, of)
        return None if finding is None else finding.measures.get(name)

    @property
    def accuracy(self) -> float:
        """Of the model."""
        return self.report.trials[0].accuracy

    def get_config(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "plan": vars(self.plan),
            "report": json.loads(self.report.to_json()),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Run":
        """The inverse of `get_config`."""
        text = json.dumps(config["report"])
        return cls(Plan(**config["plan"]), audit.Report.from_json(text))


def known(path: Path) -> dict[Plan, Run]:
    """The runs so far."""
    if not path.exists():
        return {}
    lines = path.read_text("utf-8").splitlines()
    runs = [Run.from_config(json.loads(line)) for line in lines]
    return {run.plan: run for run in runs}


COLUMNS = {
    "labels, clusters:": ("clustering of features gradients", LABELS, 0),
    "labels, SDAR:": ("SDAR", LABELS, 0),
    "images, SDAR:": ("SDAR", INPUTS, 2),
    "initial head:": ("initial head", INPUTS, 2),
    "head known:": ("known head", INPUTS, 2),
}


def tell(runs: dict[Plan, Run], report: Report) -> None:
    """The tables and the picture."""
    some = next(iter(runs.values())).report
    setting = some.setting
    seeds = len({plan.seed for plan in runs})
    plain = some.trials[0].finding("SDAR", INPUTS)
    base = {} if plain is None else plain.baselines
    report.say(
        f"{machine()}; Fashion-MNIST, {setting.private:,} images of the phone "
        f"and {setting.public:,} others of the attacker "
        f"({setting.words['data']}); {some.trials[0].steps:,} steps of "
        f"{BATCH}, up to {seeds} seeds, whose means are shown; decoders have "
        f"{DECODER_STEPS:,} steps, SDAR {_own_steps(some):,} of its own. "
        "Labels: the part that was read; chance is 10 %. Images: SSIM; the "
        "mean image has "
        + ", the class mean ".join(f"{v['ssim']:.2f}" for v in base.values())
        + "."
    )
    report.header(
        *("cut", "quantization", "defense", "seeds:"),
        *("accuracy:", "cost, points:", *COLUMNS),
    )
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for plan, made in runs.items():
        key = plan.cut, plan.quantization, plan.defense
        groups.setdefault(key, []).append(made)
    order = [
        (cut, q, defense)
        for cut in CUTS
        for defense in DEFENSES
        for q in FORMATS
    ]
    points = []
    for key in filter(groups.__contains__, order):
        cut, quantization, defense = key
        found = groups[key]
        accuracy = float(np.mean([r.accuracy for r in found]))
        costs = [  # of the same seed
            run.accuracy - runs[same].accuracy
            for run in found
            if (same := Plan(key[0], seed=run.plan.seed)) in runs
        ]
        cells, values = [], {}
        for title, (attack, of, digits) in COLUMNS.items():
            name = "ssim" if of == INPUTS else "accuracy"
            got = [r.measure(attack, of, name) for r in found]
            got = [value for value in got if value is not None]
            values[title] = float(np.mean(got)) if got else float("nan")
            cells.append(
                ""
                if not got
                else f"{values[title]:.{digits}f}"
                if digits
                else f"{100 * values[title]:.0f} %"
            )
        report.row(
            *(cut, quantization, defense or "none", str(len(found))),
            f"{100 * accuracy:.1f} %",
            f"{100 * np.mean(costs):+.1f}" if costs else "",
            *cells,
        )
        points.append((cut, quantization, defense, accuracy, values))
    report.end()
    report.plot(_frontier(points), "Accuracy over what attacks get", "audit")


def _own_steps(report: audit.Report) -> int:
    """How many SDAR had."""
    found = report.trials[0].finding("SDAR", INPUTS)
    return 0 if found is None else found.budget.steps


def _frontier(points: list[Any]) -> Any:
    """Accuracy over labels read, and over the SSIM of SDAR."""
    from _plots import label
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    sides = figure.subplots(1, 2, sharey=True)
    marks = dict(zip(CUTS, "os^", strict=True))
    titles = {
        "labels, clusters:": "part of the labels read by clusters",
        "images, SDAR:": "SSIM of SDAR",
    }
    for axes, (title, words) in zip(sides, titles.items(), strict=True):
        for cut, _, defense, accuracy, values in points:
            axes.scatter(
                values[title],
                100 * accuracy,
                marker=marks[cut],
                color="tab:red" if defense else "tab:blue",
            )
        axes.set_xlabel(f"{words}; further left is better")
        axes.margins(x=0.35, y=0.1)
    sides[0].set_ylabel("test accuracy, %; higher is better")
    for cut, mark in marks.items():
        sides[1].scatter([], [], marker=mark, color="grey", label=f"cut {cut}")
    figure.legend(loc="outside lower center", ncols=len(CUTS), fontsize=8)
    for axes, title in zip(sides, titles, strict=True):
        named = [
            (
                defense or quantization if cut == CUTS[0] else "",
                values[title],
                100 * accuracy,
            )
            for cut, quantization, defense, accuracy, values in points
        ]
        # The longest ones first, as long as there is room.
        label(figure, axes, sorted(named, key=lambda point: -len(point[0])))
    return figure


def main() -> None:
    """Makes the runs that are not there, and reports all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="Begin none later."
    )
    parser.add_argument("--table", action="store_true", help="Run nothing.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    write_option(parser)
    args = parser.parse_args()
    runs = known(args.results)
    began = time.monotonic()
    data = None if args.table else load()
    for plan in [] if args.table else plans(args.seeds):
        if plan in runs:
            continue
        if time.monotonic() - began > 60 * args.minutes:
            break
        runs[plan] = Run(plan, run(plan, data))
        with args.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(runs[plan].get_config()) + "\n")
        trial = runs[plan].report.trials[0]
        print(f"{plan}: {trial.accuracy:.3f} in {trial.seconds:.0f} s")
    if not runs:
        raise SystemExit("No runs yet: leave --table out.")
    report = Report("audit", write=args.write)
    tell(runs, report)
    report.close()


if __name__ == "__main__":
    main()
