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
import random
import tempfile
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
from _ray_front import Front
from _report import Report
from _report import machine
from _report import write_option
from phones import BATCH
from phones import CUT
from phones import RATE
from phones import load
from phones import network

import keras_split
from keras_split.client.retry import Retry

RESULTS = Path(__file__).with_suffix(".jsonl")
PHONES, REPLICAS = 4, 2
# Of one phone to another: a replica is away for a thousand steps of others.
AHEAD = 20
SELDOM = 1_000_000  # steps, from one average of heads and tails to the next
LATE_S = 1200.0  # for all phones together
PATIENT = Retry(give_up_s=600.0, longest_s=2.0)
NOBODY_IS_LATE = [
    f"--{what}-deadline={LATE_S:.0f}" for what in ("step", "round", "return")
]
# By name: options of `keras-split serve`, replicas that the new front has.
MODES: dict[str, tuple[list[str], int]] = {
    "10": (["--average-every", "10"], REPLICAS + 1),
    "1": (["--cohort", "merged", *NOBODY_IS_LATE], REPLICAS),
    "1+1": (["--cohort", "merged", *NOBODY_IS_LATE], REPLICAS + 1),
}


@dataclass(frozen=True)
class Settings:
    """What is trained, and how much is killed.

    Attributes:
        mode: Name in `MODES`.
        seed: Of everything random.
        steps: Of each phone.
        kills: Of processes that hold a body.
        words: Which images.
    """

    mode: str
    seed: int
    steps: int
    kills: int
    words: str

    @property
    def merged(self) -> bool:
        """Whether one step is of all phones."""
        return self.mode != "10"


@dataclass(frozen=True)
class Training:
    """What came out of a training.

    Attributes:
        accuracy: In percent, the mean of all phones.
        taken: Steps of each session, by the audit logs.
        finite: Whether all weights are.
        weights: Of the body and of all halves.
        killed: Steps of all phones when each kill came, by what was killed.
        left: Replicas that outlived their front.
        seconds: From the first step to the last.
    """

    accuracy: float
    taken: list[list[int]]
    finite: bool
    weights: list[Any]
    killed: list[tuple[str, int]]
    left: int
    seconds: float


class Steps:
    """Counts what phones have taken, and keeps them near each other.

    Attributes:
        counts: Of each phone.
    """

    def __init__(self) -> None:
        self.counts = [0] * PHONES
        self._over = False
        self._changing = threading.Condition()

    @property
    def count(self) -> int:
        """Of all phones."""
        return sum(self.counts)

    def take(self, number: int) -> None:
        """One more of a phone, which waits for others if it is far ahead."""
        with self._changing:
            self.counts[number] += 1
            self._changing.notify_all()
            self._changing.wait_for(
                lambda: (
                    self._over
                    or self.counts[number] <= min(self.counts) + AHEAD
                )
            )

    def end(self) -> None:
        """No more come."""
        with self._changing:
            self._over = True
            self._changing.notify_all()

    def wait(self, count: int) -> bool:
        """Whether so many were taken, and more are to come."""
        with self._changing:
            self._changing.wait_for(lambda: self._over or self.count >= count)
            return not self._over


class Chaos:
    """Kills processes of a front at random moments.

    Args:
        front: It.
        settings: How much, and when.
        steps: Tells the moments.

    Attributes:
        killed: What, and when; see `Training`.
    """

    def __init__(self, front: Front, settings: Settings, steps: Steps) -> None:
        self._front, self._steps = front, steps
        self._added = MODES[settings.mode][1]
        self._random = random.Random(settings.seed)
        kinds = ["front"] + ["replica"] * settings.kills
        self._random.shuffle(kinds)
        whole = PHONES * settings.steps
        moments = sorted(
            int(whole * self._random.uniform(0.05, 0.85)) for _ in kinds
        )
        self._plan = [*zip(kinds, moments, strict=True)]
        self.killed: list[tuple[str, int]] = []

    def run(self) -> None:
        """Until all are killed, or phones are done."""
        for kind, moment in self._plan:
            if not self._steps.wait(moment):
                return
            if kind == "front":
                self.killed.append((kind, self._steps.count))
                self._front.replicas = self._added
                self._front.kill()
                continue
            while not (found := self._front.replica_processes()):
                time.sleep(0.1)  # all are being started
            os.kill(self._random.choice(found), 9)
            self.killed.append((kind, self._steps.count))


def train(settings: Settings, data: Any, folder: Path, chaos: bool) -> Training:
    """Trains once, in peace or not."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(settings.seed)
    (x, y), test = data
    whole, clients = network(), []
    for _ in range(PHONES):
        half = keras.models.clone_model(whole)
        half.set_weights(whole.get_weights())
        client, server = keras_split.compile(half, CUT, quantization="int8")
        clients.append(client)
    server.save(folder / "server.keras")
    order = np.random.default_rng(settings.seed).permutation(len(y))
    shares = [
        np.resize(order[n::PHONES], settings.steps * BATCH)
        for n in range(PHONES)
    ]
    steps = Steps()
    with Front(
        *(folder, folder / "server.keras", *_options(settings)),
        *("--checkpoints", folder / "state", "--checkpoint-every", 10),
        *("--audit-log", folder / "audit.jsonl"),
        *("--save", folder / "trained.keras"),
        replicas=REPLICAS,
    ) as front:
        for client in clients:
            _connect(client, front.target, eagerly=settings.merged)
        kills = Chaos(front, settings, steps)
        began = time.monotonic()
        fit(
            [
                _phone(number, client, x[share], y[share], settings, steps)
                for number, (client, share) in enumerate(
                    zip(clients, shares, strict=True)
                )
            ],
            steps,
            kills.run if chaos else lambda: None,
            _enrolled(folder) if settings.merged else lambda number: None,
        )
        seconds = time.monotonic() - began
        front.stop()
    body = keras.models.load_model(folder / "trained.keras")
    weights = [*body.body.get_weights()]
    for client in clients:
        weights += [*client.head.get_weights(), *client.tail.get_weights()]
    return Training(
        accuracy(clients, body, test),
        [*taken(sorted(folder.glob("audit*.jsonl"))).values()],
        all(np.isfinite(values).all() for values in weights),
        weights,
        kills.killed,
        front.left,
        seconds,
    )


def _options(settings: Settings) -> list[Any]:
    options, _ = MODES[settings.mode]
    if not settings.merged:
        return options
    return [
        *(*options, "--phones", PHONES, "--batch", PHONES * BATCH),
        *("--cohort-seed", settings.seed),
    ]


def _connect(client: Any, target: str, *, eagerly: bool = False) -> None:
    client.compile(
        keras.optimizers.SGD(RATE),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # TensorFlow has no thread for each phone that waits for the others.
        run_eagerly=eagerly,
        strategy=keras_split.SplitStrategy(f"grpc://{target}", retry=PATIENT),
    )


def _phone(
    number: int,
    client: Any,
    x: Any,
    y: Any,
    settings: Settings,
    steps: Steps,
) -> Callable[[], None]:
    callbacks: list[Any] = [
        keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: steps.take(number)
        )
    ]
    if settings.merged:
        callbacks.append(
            keras_split.FederatedAveraging(SELDOM, examples=len(y))
        )

    def run() -> None:
        client.fit(
            *(x, y),
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )
        client.close()

    return run


def _enrolled(folder: Path) -> Callable[[int], None]:
    """Waits until so many are members: whose number is which is no chance."""

    def wait(number: int) -> None:
        end = time.monotonic() + LATE_S
        while time.monotonic() < end:
            text = (folder / "audit.jsonl").read_text("utf-8")
            if text.count('"event": "enrolled"') > number:
                return
            time.sleep(0.05)

    return wait


def fit(
    phones: list[Callable[[], None]],
    steps: Steps,
    beside: Callable[[], None],
    entered: Callable[[int], None],
) -> None:
    """All phones train at the same time; something else happens beside it."""
    failed: list[BaseException] = []

    def guarded(function: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                function()
            except BaseException as error:
                failed.append(error)

        return run

    threads = [
        threading.Thread(target=guarded(each), daemon=True) for each in phones
    ]
    other = threading.Thread(target=guarded(beside), daemon=True)
    for number, thread in enumerate(threads):
        thread.start()
        entered(number)
    other.start()
    end = time.monotonic() + LATE_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    steps.end()
    other.join(LATE_S)
    if failed:
        raise failed[0]
    if any(thread.is_alive() for thread in threads):
        raise SystemExit(f"Phones still train after {LATE_S:.0f} s.")


def accuracy(clients: list[Any], body: Any, test: Any) -> float:
    """Of all phones with a body, in percent."""
    found = []
    with body.serve(port=0) as running:
        for client in clients:
            _connect(client, running.target)
            found.append(client.evaluate(*test, batch_size=500, verbose=0)[1])
            client.close()
    return 100 * float(np.mean(found))


def taken(logs: Iterable[Path]) -> dict[str, list[int]]:
    """Steps of each session that count, as audit logs tell.

    A process that comes back says from where each session goes on; what was
    taken behind that died with the one before, and so did sessions that had
    not begun to be kept. Who said goodbye is kept.
    """
    steps: dict[str, list[int]] = {}
    for log in logs:
        here: dict[str, list[int]] = {}
        closed = set()
        for line in map(json.loads, log.read_text("utf-8").splitlines()):
            session = line.get("session")
            if line["event"] == "step":
                here.setdefault(session, []).append(line["step"])
            elif line["event"] == "closed" and line["reason"] == "goodbye":
                closed.add(session)
            elif line["event"] == "loaded":
                kept = line["sessions"]
                here = {
                    name: taken[: kept.get(name)]
                    for name, taken in here.items()
                    if name in kept or name in closed
                }
        for session, numbers in here.items():
            steps.setdefault(session, []).extend(numbers)
    return steps


def compare(settings: Settings, data: Any) -> dict[str, Any]:
    """Trains in peace and not, and says how they differ."""
    found = []
    for chaos in (False, True):
        with tempfile.TemporaryDirectory(prefix="ray-chaos-") as folder:
            made = train(settings, data, Path(folder), chaos)
            found.append(made)
        print(
            f"mode {settings.mode}, seed {settings.seed}: "
            f"{made.accuracy:.2f} %, {sum(map(len, made.taken))} steps, "
            f"{made.seconds:.0f} s, {made.killed}, left {made.left}",
            flush=True,
        )
    quiet, disturbed = found
    once = [[*range(settings.steps)]] * PHONES
    return asdict(settings) | {
        "quiet": quiet.accuracy,
        "disturbed": disturbed.accuracy,
        "killed": disturbed.killed,
        "left": disturbed.left,
        "taken": sum(map(len, disturbed.taken)),
        "once": quiet.taken == once and disturbed.taken == once,
        "finite": quiet.finite and disturbed.finite,
        "difference": max(
            float(np.abs(a - b).max())
            for a, b in zip(quiet.weights, disturbed.weights, strict=True)
        ),
        "seconds": [round(each.seconds, 1) for each in found],
    }


def tell(runs: list[dict[str, Any]], report: Report) -> None:
    """The table."""
    steps = sorted({run["steps"] for run in runs})
    report.say(
        f"Fashion-MNIST, {runs[0]['words']}, dealt out evenly to {PHONES} "
        f"phones; {REPLICAS} replicas; {', '.join(map(str, steps))} steps of "
        f"{BATCH} images each, SGD {RATE}, int8; {machine()}. Killed are "
        "processes that hold a body, and the front once."
    )
    report.header(
        *("mode", "seed:", "in peace %:", "disturbed %:", "difference:"),
        *("replicas killed:", "fronts:", "steps in logs:", "each once"),
        *("finite", "weights differ by:"),
    )
    for run in sorted(runs, key=lambda r: ([*MODES].index(r["mode"]), r["seed"])):
        kinds = [kind for kind, _ in run["killed"]]
        merged = run["mode"] != "10"
        report.row(
            *(run["mode"], run["seed"]),
            f"{run['quiet']:.2f}",
            f"{run['disturbed']:.2f}",
            f"{run['disturbed'] - run['quiet']:+.2f}",
            *(kinds.count("replica"), kinds.count("front")),
            f"{run['taken']:,}",
            *("yes" if run[what] else "NO" for what in ("once", "finite")),
            f"{run['difference']:.1g}" if merged else "",
        )
    report.end()


def known(path: Path) -> list[dict[str, Any]]:
    """The runs so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    """Makes the runs that are not there, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["10", "1"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--subset", action="store_true")
    parser.add_argument("--table", action="store_true", help="Run nothing.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    write_option(parser)
    args = parser.parse_args()
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
