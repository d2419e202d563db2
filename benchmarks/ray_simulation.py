"""Simulated phones in processes of Ray, beside one process: times, numbers.

    python benchmarks/ray_simulation.py            # 1,000 phones: minutes
    python benchmarks/ray_simulation.py --write

1,000 phones with 12 images each train in every round (`private`, the network
of phones.py). Both ways take turns, so that what else the machine does hits
both; a ratio is of the two runs that were next to each other. A time is that
of all rounds but the first, in which graphs are made and processes start,
without what scoring takes, which both do in one process.
"""

import argparse
import os
import time
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
from _report import Report
from _report import machine
from _report import write_option
from phones import BATCH
from phones import CUT
from phones import RATE
from phones import network

from keras_split import datasets
from keras_split.federation import shards
from keras_split.federation.result import SimulationResult
from keras_split.federation.simulation import simulate
from keras_split.ray import RayEngine
from keras_split.utils.counted import counted


@dataclass(frozen=True)
class Run:
    """One simulation.

    Attributes:
        result: What came out.
        seconds: Of the rounds behind the first.
        start: Until the first round was over, from the call on.
    """

    result: SimulationResult
    seconds: float
    start: float


def run(data: Any, rounds: int, engine: Any) -> Run:
    """Simulates once."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = network()
    model.compile(
        keras.optimizers.SGD(RATE),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    times = [time.perf_counter()]
    result = simulate(
        model,
        CUT,
        data,
        mode="private",
        rounds=1 + rounds,
        batch=BATCH,
        # In the last round alone, and so little that it takes no time.
        validation_data=(data.x[:500], data.y[:500]),
        validation_freq=1 + rounds,
        engine=engine,
        on_round=lambda _: times.append(time.perf_counter()),
    )
    return Run(result, times[-1] - times[1], times[1] - times[0])


def load(phones: int, images: int) -> Any:
    """Phones with as many images each, of those that come with keras_split."""
    (x, y), _ = datasets.load("fashion_mnist", subset=True)
    x = x[..., None].astype("float32") / 255
    # More phones than the images suffice for get some again.
    chosen = np.resize(
        np.random.default_rng(0).permutation(len(y)), phones * images
    )
    dealt = np.split(np.arange(phones * images), phones)
    return shards.Shards(x[chosen], y[chosen].astype("int32"), dealt)


def alike(one: SimulationResult, other: SimulationResult) -> str:
    """How far two runs are the same, in words."""
    pairs = [*zip(one.rounds, other.rounds, strict=True)]
    weights = [
        float(np.abs(a - b).max())
        for a, b in zip(
            one.model.get_weights(), other.model.get_weights(), strict=True
        )
    ]
    if not max(weights) and all(
        replace(a, seconds=0) == replace(b, seconds=0) for a, b in pairs
    ):
        return "bit for bit"
    sent = all(a.uplink_bytes == b.uplink_bytes for a, b in pairs)
    apart = max(abs(a.loss - b.loss) / b.loss for a, b in pairs)
    return (
        f"losses to {apart:.0e} of them, weights to {max(weights):.0e}, "
        f"bytes {'equal' if sent else 'different'}"
    )


def main() -> None:
    """Runs both ways in turns, and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phones", type=int, default=1000)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--ray", metavar="ADDRESS")
    write_option(parser)
    args = parser.parse_args()
    report = Report("ray-simulation", write=args.write)
    data = load(args.phones, args.images)
    engine = RayEngine(args.ray, args.workers, threads=args.threads)
    report.say(
        f"{args.phones:,} phones with {args.images} images each, all of them "
        f"in {counted(args.rounds, 'round')} of private; {machine()}. A row "
        "is two runs, one behind the other."
    )
    report.header(
        *("one process, s:", "Ray, s:", "ratio:"),
        *("until the first round is over, one process, s:", "Ray, s:"),
        "same numbers",
    )
    ratios = []
    for number in range(args.repeats):
        # Who is first takes turns, too.
        order = ["process", engine][:: 1 if number % 2 == 0 else -1]
        made = {str(e): run(data, args.rounds, e) for e in order}
        one, spread = made["process"], made[str(engine)]
        ratios.append(one.seconds / spread.seconds)
        report.row(
            f"{one.seconds:.1f}",
            f"{spread.seconds:.1f}",
            f"{ratios[-1]:.2f}",
            f"{one.start:.0f}",
            f"{spread.start:.0f}",
            alike(one.result, spread.result),
        )
    report.end()
    report.say(
        f"Ratio: median {np.median(ratios):.2f}, least {min(ratios):.2f}."
    )
    report.close()


if __name__ == "__main__":
    main()
