"""One training with replicas, which are killed meanwhile or not."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from _audit_steps import taken
from _ray_front import Front
from phones import CUT
from phones import network

import keras_split
from keras_split.client.retry import Retry

BATCH = 40
RATE = 0.1  # at first; it falls to zero
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
            os.kill(self._random.choice(found), signal.SIGKILL)
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
            _connect(client, front.target, settings)
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
        accuracy(clients, body, test, settings),
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


def _connect(client: Any, target: str, settings: Settings) -> None:
    # To zero, so that the last few steps are not what accuracy is of.
    rate = keras.optimizers.schedules.PolynomialDecay(
        RATE, settings.steps, end_learning_rate=0.0
    )
    client.compile(
        keras.optimizers.SGD(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # TensorFlow has no thread for each phone that waits for the others.
        run_eagerly=settings.merged,
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


def accuracy(
    clients: list[Any], body: Any, test: Any, settings: Settings
) -> float:
    """Of all phones with a body, in percent."""
    found = []
    with body.serve(port=0) as running:
        for client in clients:
            _connect(client, running.target, settings)
            found.append(client.evaluate(*test, batch_size=500, verbose=0)[1])
            client.close()
    return 100 * float(np.mean(found))
