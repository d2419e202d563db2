"""What the planner predicts of a phone's step, beside what it takes.

    python benchmarks/planner.py [--rounds 3] [--clock cpu] [--minutes 60]
    python benchmarks/planner.py --table --write    # of the runs so far

Cuts of the six presets that no probe has, at batch 1 and 8. In each round the
machine is probed anew, as `keras-split device probe` does it, and then runs
every cut, so that both see the same machine; each file runs in a process of
its own, without TensorFlow. Predictions are those of that round's profile.
Whole steps, and memory, are in planned_steps.py.
What is in the results is not run again; files are kept in --files.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _report import Report
from _report import machine
from _report import write_option

from keras_split.planner import Profile
from keras_split.planner import Work
from keras_split.planner import commit
from keras_split.planner.runs import SIGNATURES

RESULTS = Path(__file__).with_suffix(".jsonl")
FILES = Path(tempfile.gettempdir(), "planner")
SCRIPTS = Path(__file__).parents[1] / "scripts"
POOL = "GlobalAveragePooling2D#1"
CUTS = (
    ("mobilenet_v2", 96, "expanded_conv_project_BN", POOL),
    ("resnet50", 96, "pool1_pool", "avg_pool"),
    ("vgg19", 64, "block1_pool", "fc2"),
    ("densenet121", 96, "pool1", "avg_pool"),
    ("inception_v3", 96, "MaxPooling2D#1", "avg_pool"),
    ("inception_resnet_v2", 96, "MaxPooling2D#1", "avg_pool"),
    ("mobilenet_v2", 128, "block_3_project_BN", POOL),
    ("resnet50", 96, "conv2_block1_out", "avg_pool"),
    ("vgg19", 64, "block2_pool", "fc2"),
    ("densenet121", 64, "conv2_block3_concat", "avg_pool"),
    ("inception_v3", 128, "MaxPooling2D#2", "avg_pool"),
    ("inception_resnet_v2", 96, "mixed_5b", "avg_pool"),
    ("mobilenet_v2", 96, "block_6_project_BN", "block_15_add"),
    ("resnet50", 64, "conv3_block1_out", "conv5_block2_out"),
    ("vgg19", 96, "block1_conv1", "fc2"),
    ("densenet121", 96, "pool2_pool", "conv5_block14_concat"),
    ("inception_v3", 96, "mixed0", "mixed9"),
    ("mobilenet_v2", 64, "Conv1_relu", POOL),
)
BATCHES = (1, 8)


@dataclass(frozen=True)
class Case:
    """A cut of a preset, at one batch."""

    preset: str
    size: int
    first: str
    second: str
    batch: int

    @property
    def stem(self) -> str:
        """Of its files."""
        parts = (self.preset, self.size, self.first, self.second, self.batch)
        return "-".join(str(part).replace("#", "") for part in parts)


def cases() -> list[Case]:
    """All of them."""
    return [Case(*cut, batch) for cut in CUTS for batch in BATCHES]


def prepare(case: Case, folder: Path) -> None:
    """Exports a case, and says what its halves do."""
    path = folder / f"{case.stem}.tflite"
    works = path.with_suffix(".work.json")
    if path.exists() and works.exists():
        return
    import keras

    import keras_split
    from keras_split import zoo

    sys.path.insert(0, str(SCRIPTS))
    import make_probes

    keras.backend.clear_session()
    preset = zoo.get(case.preset)
    shape = (case.size, case.size, 3)
    model = preset.build(input_shape=shape, classes=10)
    cut = [case.first, case.second]
    client, _ = keras_split.compile(model, cut, quantization="int8")
    if path.exists():
        made = make_probes.described(client, case.batch, path)
    else:
        made = make_probes.export(client, case.batch, path)
    halves = {"head": made.head.get_config(), "tail": made.tail.get_config()}
    works.write_text(json.dumps(halves))


def measure(case: Case, folder: Path, options: Any) -> dict[str, Any]:
    """Runs a case in a process of its own."""
    script = Path(__file__).with_name("_planner_process.py")
    path = folder / f"{case.stem}.tflite"
    done = subprocess.run(
        [
            *(sys.executable, str(script), str(path), str(options.seconds)),
            *("1", options.clock),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def probe(path: Path, options: Any) -> Profile:
    """Measures this machine as a user would, and reads the profile."""
    command = [sys.executable, "-m", "keras_split_cli", "device", "probe"]
    more = ["-o", str(path), "--threads", "1", "--clock", options.clock]
    subprocess.run([*command, *more], check=True, stdout=subprocess.DEVNULL)
    return Profile.load(path)


def predict(profile: Profile, case: Case, folder: Path) -> dict[str, Any]:
    """What the planner says of a case."""
    path = folder / f"{case.stem}.work.json"
    halves = json.loads(path.read_text())
    head, tail = (Work.from_config(halves[name]) for name in ("head", "tail"))
    works = {
        "head_forward": head,
        "tail_step": tail,
        "head_backward": head + commit(tail),
    }
    seconds = {
        name: profile.seconds(works[name], case.batch, name)
        for name in SIGNATURES
    }
    return {"seconds": seconds}


def known(path: Path) -> dict[tuple[int, Case], Any]:
    """The runs so far."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {(row["round"], Case(**row["case"])): row for row in rows}


def run(options: Any, runs: dict[tuple[int, Case], Any]) -> None:
    """Makes the runs that are not there."""
    began = time.monotonic()
    folder = options.files
    folder.mkdir(parents=True, exist_ok=True)
    chosen = cases()
    if options.exported:
        works = (f"{case.stem}.work.json" for case in chosen)
        there = [(folder / name).exists() for name in works]
        chosen = [c for c, found in zip(chosen, there, strict=True) if found]
    for case in chosen:
        prepare(case, folder)
    for number in range(options.rounds):
        todo = [case for case in chosen if (number, case) not in runs]
        late = time.monotonic() - began > 60 * options.minutes
        if not todo or late:
            continue
        profile = probe(folder / f"profile-{number}.json", options)
        for case in todo:
            if time.monotonic() - began > 60 * options.minutes:
                break
            row = {
                "round": number,
                "clock": options.clock,
                "case": vars(case),
                "predicted": predict(profile, case, folder),
                "measured": measure(case, folder, options),
            }
            runs[number, case] = row
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def step(side: dict[str, Any]) -> float:
    """Seconds of a whole step."""
    return float(sum(side["seconds"].values()))


def spread(name: str, errors: Any) -> str:
    """Median and 90th percentile of relative errors, in words."""
    sizes = 100 * np.abs(np.array(errors))
    middle, most = np.quantile(sizes, (0.5, 0.9))
    return f"{name}: median error {middle:.1f} %, 90th percentile {most:.1f} %"


def tell(runs: dict[tuple[int, Case], Any], report: Report) -> None:
    """The table: medians over the rounds."""
    clocks = sorted({row["clock"] for row in runs.values()})
    rounds = len({number for number, _ in runs})
    report.say(
        f"{machine()}; LiteRT with one thread, seconds of the clock "
        f"{' and '.join(clocks)}, {rounds} rounds, each with a probe of its "
        "own. ms of a whole batch, predicted / measured, medians over rounds: "
        "head forward, tail, head backward."
    )
    report.header(
        *("preset", "size:", "cut", "batch:"),
        *(f"{name}:" for name in SIGNATURES),
        *("step:", "error:"),
    )
    whole = []
    for case in dict.fromkeys(case for _, case in runs):
        rows = [row for (_, c), row in runs.items() if c == case]

        def middle(get: Any, rows: Any = rows) -> tuple[float, float]:
            predicted = np.median([get(row["predicted"]) for row in rows])
            measured = np.median([get(row["measured"]) for row in rows])
            return float(predicted), float(measured)

        cells = []
        for name in SIGNATURES:
            one, other = middle(lambda side, n=name: side["seconds"][n])
            cells.append(f"{1e3 * one:.2f} / {1e3 * other:.2f}")
        one, other = middle(step)
        whole.append(one / other - 1)
        cells.append(f"{1e3 * one:.1f} / {1e3 * other:.1f}")
        cells.append(f"{100 * whole[-1]:+.0f} %")
        cut = f"{case.first}, {case.second}"
        report.row(case.preset, str(case.size), cut, str(case.batch), *cells)
    report.end()
    single = [
        step(row["predicted"]) / step(row["measured"]) - 1
        for row in runs.values()
    ]
    report.say(
        f"{spread('Time of a step, medians over rounds', whole)}; "
        f"{spread('of single rounds', single)}."
    )


def plot(runs: dict[tuple[int, Case], Any]) -> Any:
    """Measured over predicted steps, by preset; each round is a point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    ends = [np.inf, 0.0]
    for preset in dict.fromkeys(case.preset for _, case in runs):
        rows = [row for (_, c), row in runs.items() if c.preset == preset]
        x = [1e3 * step(row["predicted"]) for row in rows]
        y = [1e3 * step(row["measured"]) for row in rows]
        axes.loglog(x, y, ".", label=preset)
        ends = [min(ends[0], *x, *y), max(ends[1], *x, *y)]
    axes.loglog(ends, ends, color="grey", linewidth=1)
    axes.set_xlabel("ms of a phone's step, predicted")
    axes.set_ylabel("ms, measured")
    axes.legend(fontsize=8)
    return figure


def main() -> None:
    """Makes the runs that are not there, and reports all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="A file.")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="cpu")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="Begin none later."
    )
    parser.add_argument(
        "--exported", action="store_true", help="Those with files alone."
    )
    parser.add_argument("--table", action="store_true", help="Run nothing.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--files", type=Path, default=FILES)
    write_option(parser)
    options = parser.parse_args()
    runs = known(options.results)
    if not options.table:
        run(options, runs)
    if not runs:
        raise SystemExit("No runs yet: leave --table out.")
    report = Report("planner", write=options.write)
    tell(runs, report)
    if options.write:
        report.plot(plot(runs), "Measured over predicted milliseconds of steps")
    report.close()


if __name__ == "__main__":
    main()
