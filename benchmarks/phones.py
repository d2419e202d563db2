"""Many phones: every mode beside one phone with all the data, and FedAvg.

    python benchmarks/phones.py                     # all: hours of one core
    python benchmarks/phones.py --seeds 0 --alphas 0.1 --modes merged shared
    python benchmarks/phones.py --table             # of the runs so far

100 phones, 10 a round; each class of Fashion-MNIST is dealt out by a
Dirichlet distribution. All 60,000 images where Debian's or Keras' files are
there, else the 6,000 that come with keras_split, which the table says. A
small convolutional network with BatchNorm in the body; stochastic gradient
descent, whose rate grows with the batch. A run that is in the results is not
made again; what tells most is run first: all modes at alpha 0.1, then what
bytes buy, then phones that are more alike.
"""

import argparse
import itertools
import json
import os
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _report import Report
from _report import machine
from _report import write_option

from keras_split import datasets
from keras_split.errors import DataError
from keras_split.federation import plot
from keras_split.federation import shards
from keras_split.federation.result import SimulationResult
from keras_split.federation.result import size
from keras_split.federation.simulation import simulate

PHONES, ROUND_PHONES = 100, 10
BATCH, MERGED_BATCH = 20, 200
RATE = 0.05  # of a phone's step; a merged one has 10 times the images
MERGED_RATE = 0.2
CUT = ["pool", "features"]
GOAL = 0.85
# By name: mode, most phones of a step, quantization, learning rate.
MODES: dict[str, tuple[str, int | None, str, float]] = {
    "centralized": ("centralized", None, "float32", MERGED_RATE),
    "fedavg": ("fedavg", None, "float32", RATE),
    "merged": ("merged", None, "int8", MERGED_RATE),
    "merged-10": ("merged", ROUND_PHONES, "int8", MERGED_RATE),
    "merged-10-float32": ("merged", ROUND_PHONES, "float32", MERGED_RATE),
    "merged-10-small": ("merged", ROUND_PHONES, "small", MERGED_RATE / 2),
    "private": ("private", None, "int8", RATE),
    "shared": ("shared", None, "int8", RATE),
    "shared-float32": ("shared", None, "float32", RATE),
    "shared-small": ("shared", None, "small", RATE),
    "relay": ("relay", None, "int8", RATE),
    "personal": ("personal", None, "int8", RATE),
}
# Other quantizations of the same, for their bytes.
CODINGS = [name for name in MODES if name.endswith(("-float32", "-small"))]


RESULTS = Path(__file__).with_suffix(".jsonl")


@dataclass(frozen=True)
class Run:
    """A simulation, and with what it was made.

    Attributes:
        alpha: Of the Dirichlet distribution; infinity for phones alike.
        seed: Of all draws.
        words: Which images.
        rounds: How many.
        result: Its scored rounds.
    """

    alpha: float
    seed: int
    words: str
    rounds: int
    result: SimulationResult

    def serves(
        self, name: str, alpha: float, seed: int, words: str, rounds: int
    ) -> bool:
        """Whether it is, or begins with, such a run."""
        same = (self.result.name, self.alpha, self.seed, self.words)
        return same == (name, alpha, seed, words) and self.rounds >= rounds

    def cut(self, rounds: int) -> SimulationResult:
        """What came out of its first rounds."""
        found = [one for one in self.result.rounds if one.number <= rounds]
        return SimulationResult(self.result.name, self.result.settings, found)

    def get_config(self) -> dict[str, Any]:
        """Plain values; of the result what tables and pictures need."""
        config = vars(self) | {"result": self.result.get_config()}
        scored = [
            asdict(one)
            | {
                "metrics": {k: round(v, 4) for k, v in one.metrics.items()},
                "loss": round(one.loss, 4),
                "seconds": round(one.seconds, 1),
            }
            for one in self.result.scored
        ]
        config["result"]["rounds"] = scored
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Run":
        """The inverse of `get_config`."""
        result = SimulationResult.from_config(config["result"])
        return cls(**config | {"result": result})


def network() -> keras.Model:
    """Two convolutions; BatchNorm in the body alone; 110,000 parameters."""
    layers = keras.layers
    x = inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(16, 3, activation="relu")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(32, 3)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.MaxPooling2D()(layers.ReLU()(x))
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu", name="features")(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def load(subset: bool) -> tuple[Any, Any, str]:
    """Training images, test images, and what they are in words."""
    words = "all 60,000 images"
    try:
        split = datasets.load("fashion_mnist", subset=subset)
    except DataError:
        subset, split = True, datasets.load("fashion_mnist")
    if subset:
        words = "the 6,000 images that come with keras_split, a tenth of all"
    train, test = (
        (x[..., None].astype("float32") / 255, y.astype("int32"))
        for x, y in split
    )
    return train, test, words


def run(
    name: str, alpha: float, seed: int, rounds: int, every: int, data: Any
) -> SimulationResult:
    """Simulates once; an alpha of infinity is for phones that are alike."""
    mode, most, quantization, rate = MODES[name]
    train, test = data
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = network()
    model.compile(
        keras.optimizers.SGD(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    x, y = train
    dealt = (
        shards.iid(len(y), PHONES, seed=seed)
        if np.isinf(alpha)
        else shards.dirichlet(y, PHONES, alpha, seed=seed)
    )
    return simulate(
        model,
        CUT,
        shards.Shards(x, y, dealt),
        mode=mode,
        rounds=rounds,
        participation=ROUND_PHONES,
        phones_per_step=most,
        batch=BATCH,
        merged_batch=MERGED_BATCH,
        validation_data=test,
        validation_freq=every,
        seed=seed,
        quantization=quantization,
        name=name,
        on_round=lambda r: (
            print(
                f"{name} {r.number}: {r.accuracy:.3f}, {r.seconds:.0f} s",
                flush=True,
            )
            if r.metrics
            else None
        ),
    )


def plan(
    modes: list[str], alphas: list[float], seeds: list[int]
) -> list[tuple[str, float, int]]:
    """Which runs, by mode, alpha and seed: what tells most comes first."""
    runs = itertools.product(modes, alphas, seeds)

    def importance(run: tuple[str, float, int]) -> Any:
        name, alpha, seed = run
        return alpha != min(alphas), name in CODINGS, seed, alphas.index(alpha)

    return sorted(runs, key=importance)


def known(path: Path) -> list[Run]:
    """Runs that were made."""
    if not path.exists():
        return []
    lines = path.read_text("utf-8").splitlines()
    return [Run.from_config(json.loads(line)) for line in lines]


def tell(runs: list[Run], report: Report, picture: Path) -> None:
    """Tables and pictures of each alpha."""
    for alpha in sorted({run.alpha for run in runs}):
        of_alpha = [run for run in runs if run.alpha == alpha]
        for rounds in sorted({run.rounds for run in of_alpha}):
            _table([r for r in of_alpha if r.rounds >= rounds], rounds, report)
        first: dict[str, SimulationResult] = {}
        for run in sorted(of_alpha, key=lambda r: (r.seed, -r.rounds)):
            first.setdefault(run.result.name, run.result)
        shown = [first[n] for n in MODES if n in first and n not in CODINGS]
        plot.plot(shown, picture.with_stem(f"{picture.stem}-{alpha:g}"))
        name = f"phones-{alpha:g}".replace(".", "-")
        report.plot(
            plot.figure(shown),
            f"Accuracy by round and by bytes of all modes, {_mix(alpha)}, "
            "first seed.",
            name,
        )


def _table(runs: list[Run], rounds: int, report: Report) -> None:
    """Mean and worst of the seeds, for some rounds and one alpha."""
    report.say(
        f"100 phones, {_mix(runs[0].alpha)}, {runs[0].words}, the first "
        f"{rounds} rounds; best accuracy of any scored round, and how far it "
        "fell below its best from round 10 on, in points; bytes of all phones "
        f"until {GOAL:.0%}; one core of {machine()}."
    )
    report.header(
        *("mode", "seeds:", "best, mean:", "worst:", "to centralized:"),
        *("deepest fall:", "last round, worst:"),
        *("sent until 85 %:", "received:"),
    )
    by_name: dict[str, dict[int, SimulationResult]] = {}
    for run in runs:
        by_name.setdefault(run.result.name, {})[run.seed] = run.cut(rounds)
    pooled = by_name.get("centralized", {})
    for name in filter(by_name.__contains__, MODES):
        found = by_name[name]
        best = [one.best for one in found.values()]
        shared = found.keys() & pooled.keys()
        gaps = [100 * (found[s].best - pooled[s].best) for s in shared]
        last = [one.scored[-1].accuracy for one in found.values()]
        report.row(
            name,
            str(len(found)),
            f"{np.mean(best):.3f}",
            f"{min(best):.3f}",
            f"{np.mean(gaps):+.1f}" if gaps else "",
            f"{100 * max(_fall(one) for one in found.values()):.0f}",
            f"{min(last):.3f}",
            *_bytes([one.bytes_to_reach(GOAL) for one in found.values()]),
        )
    report.end()


def _mix(alpha: float) -> str:
    return "all alike (IID)" if np.isinf(alpha) else f"alpha {alpha:g}"


def _fall(result: SimulationResult) -> float:
    """How far the accuracy fell below the best so far, from round 10 on."""
    best, deepest = 0.0, 0.0
    for one in result.scored:
        best = max(best, one.accuracy)
        if one.number >= 10:
            deepest = max(deepest, best - one.accuracy)
    return deepest


def _bytes(until: list[tuple[int, int] | None]) -> tuple[str, str]:
    """Up and down in the mean of the seeds, where all reached the goal."""
    reached = [one for one in until if one]
    if not any(map(sum, reached)) and reached:
        return "nothing", "nothing"
    if len(reached) < len(until):
        return "not reached", f"by {len(reached)} of {len(until)}"
    up, down = (float(np.mean(part)) for part in zip(*reached, strict=True))
    return size(up), size(down)


def main() -> None:
    """Makes the runs that are not there, and reports all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--alphas", type=float, nargs="+", default=[0.1, 1.0, float("inf")]
    )
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=list(MODES)
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument(
        "--every", type=int, default=2, help="Rounds between two scorings."
    )
    parser.add_argument("--subset", action="store_true")
    parser.add_argument("--table", action="store_true", help="Run nothing.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--plot", type=Path, default=Path("phones.png"))
    write_option(parser)
    args = parser.parse_args()
    runs = known(args.results)
    plans = plan(args.modes, args.alphas, args.seeds)
    if not args.table:
        train, test, words = load(args.subset)
    for name, alpha, seed in [] if args.table else plans:
        if any(r.serves(name, alpha, seed, words, args.rounds) for r in runs):
            continue
        data = train, test
        made = run(name, alpha, seed, args.rounds, args.every, data)
        runs.append(Run(alpha, seed, words, args.rounds, made))
        with args.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(runs[-1].get_config()) + "\n")
    runs = [r for r in runs if (r.result.name, r.alpha, r.seed) in plans]
    if not runs:
        raise SystemExit("No runs yet: leave --table out.")
    report = Report("phones", write=args.write)
    tell(runs, report, args.plot)
    report.close()


if __name__ == "__main__":
    main()
