"""Trains copies of a split beside attacks, and scores what those got."""

import math
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_split.audit.alarms import Alarms
from keras_split.audit.attack import Attack
from keras_split.audit.clones import clones
from keras_split.audit.drill import STEPS
from keras_split.audit.drill import Drill
from keras_split.audit.finding import INPUTS
from keras_split.audit.finding import Budget
from keras_split.audit.finding import Finding
from keras_split.audit.finding import Trial
from keras_split.audit.hijack import Hijack
from keras_split.audit.pictures import Pictures
from keras_split.audit.scene import Examples
from keras_split.audit.turns import Turns
from keras_split.audit.watch import Watched
from keras_split.audit.watch import leak
from keras_split.audit.watch import scene_of
from keras_split.audit.watch import watch
from keras_split.audit.yardstick import Yardstick
from keras_split.defenses.chain import Chain
from keras_split.defenses.epsilon import epsilons
from keras_split.errors import SplitError
from keras_split.models import ClientModel
from keras_split.models import ServerModel

_Array = np.ndarray[Any, Any]
# What is kept of the steps that are attacked, at most.
_KEPT_EXAMPLES, _KEPT_BYTES = 2000, 256 << 20
# Shares of the time: of a classifier of public data; and of a trial for its
# training, with the attacks that listen to it, and for attacks behind that.
# With a drill its share is of all of that, and half of it is for a phone that
# does not look. What takes longer than it should takes it of nobody's share.
_CLASSIFIER, _TRAINING, _ATTACKS, _DRILL = 0.1, 0.6, 0.35, 0.4


class Trials:
    """Trains copies of a split beside attacks, and scores what those got.

    Args:
        client: Copied for each trial, as is its server.
        server: Likewise.
        data: The phone's, the attacker's, and what accuracy is measured on.
        classes: How many there are.
        seconds: About how long all of it may take.
        epochs: Of a training, if there is time.
        batch_size: Examples in a step.
        seed: Of all chance.
        drill: Whether servers hijack copies as well.
        told: Is told what is being done, how far that is, and which share of
            the time is over.

    Attributes:
        made: Those that were made.
        pictures: What attacks make of a few examples; None if no images are.
    """

    def __init__(
        self,
        client: ClientModel,
        server: ServerModel,
        data: tuple[Examples, Examples, Examples],
        classes: int,
        *,
        seconds: float,
        epochs: int,
        batch_size: int,
        seed: int,
        drill: bool = False,
        told: Callable[[str, str, float], None],
    ) -> None:
        self._halves = client, server
        self._private, self._public, self._held_out = data
        self._classes = classes
        self._seconds = seconds
        self._epochs = epochs
        self._batch = batch_size
        self._seed = seed
        self._drill = drill
        self._told = told
        self._began = time.perf_counter()
        self._classifier: keras.Model | None = None
        # What the first trial had; the others have the same, to compare.
        self._steps: int | None = None
        self._granted: dict[int, float] = {}
        self._hijacked: int | None = None
        self.made: list[Trial] = []
        self.pictures: Pictures | None = None

    def train_classifier(self) -> None:
        """Trains the network on public data, for a baseline of labels."""
        client, server = clones(*self._halves, defenses=Chain(), fresh=True)
        scene = scene_of(
            client, server, self._public, self._classes, self._seed
        )
        watch(
            client,
            server,
            self._public,
            [],
            scene,
            epochs=self._epochs,
            batch_size=self._batch,
            keep=1,
            seconds=_CLASSIFIER * self._seconds,
            told=lambda steps, loss: self._tell(
                "Training a classifier on public data",
                f"step {steps:,}, loss {loss:.3f}",
            ),
        )
        self._classifier = client

    def add(
        self, name: str, chain: Chain, attacks: Sequence[Attack], left: int
    ) -> None:
        """Makes a trial.

        Args:
            name: Of the trial.
            chain: The phone's defenses.
            attacks: What is tried.
            left: How many trials share the rest of the time, with this one.
        """
        began = time.perf_counter()
        first = self._steps is None
        share = whole = self._left / left
        if self._drill:
            share *= 1 - _DRILL
        client, server = clones(*self._halves, defenses=chain)
        scene = scene_of(
            client, server, self._public, self._classes, self._seed
        )
        an_epoch = len(self._private) // self._batch
        planned = self._epochs * an_epoch
        steps = self._steps or planned
        watched = watch(
            client,
            server,
            self._private,
            attacks,
            scene,
            epochs=self._epochs,
            batch_size=self._batch,
            keep=self._keep,
            steps=steps,
            seconds=_TRAINING * share if first else math.inf,
            told=lambda taken, loss: self._tell(
                f"Training, {name}; attacks listen",
                f"step {taken:,} of {steps:,}, loss {loss:.3f}",
            ),
        )
        self._steps = watched.steps
        yardstick = self._yardstick(watched.last.truth)
        until = began + (_TRAINING + _ATTACKS) * share
        left_s = max(until - time.perf_counter(), _ATTACKS * share)
        findings, left_out = self._findings(
            name, client, watched, attacks, yardstick, left_s
        )
        self._tell(f"Accuracy, {name}")
        right = self._labels(client, self._held_out.x) == self._held_out.y
        alarms = None
        if self._drill:
            try:
                until = began + 0.95 * whole
                left_s = max(until - time.perf_counter(), 0.95 * _DRILL * whole)
                finding, alarms = self._hijack(name, chain, yardstick, left_s)
                findings.append(finding)
            except SplitError as error:
                left_out[Hijack.name] = str(error)
        self.made.append(
            Trial(
                name,
                tuple(chain.describe()),
                float(right.mean()),
                watched.steps,
                planned,
                round(time.perf_counter() - began, 1),
                tuple(findings),
                left_out,
                alarms,
                epsilons(client, -(-watched.steps // an_epoch)),
            )
        )
        client.close()

    def _hijack(
        self, name: str, chain: Chain, yardstick: Yardstick, seconds: float
    ) -> tuple[Finding, Alarms]:
        """What a server reads that hijacks, and whether phones tell it."""
        turns = Turns(seconds, 2)
        wall, cpu = time.perf_counter(), time.process_time()
        drill = Drill(
            *self._halves,
            chain,
            self._private,
            self._public,
            classes=self._classes,
            batch_size=self._batch,
            seed=self._seed,
            told=lambda stage, detail: self._tell(f"{stage}, {name}", detail),
        )
        taken = drill.hijack(yardstick.truth, self._hijacked, turns.next())
        self._hijacked = taken.steps
        budget = Budget(
            taken.steps,
            taken.spent.steps,
            STEPS,
            len(self._public),
            round(taken.spent.seconds, 1),
            round(max(taken.spent.cpu_seconds, time.process_time() - cpu), 1),
        )
        read = taken.guess.inputs
        assert read is not None
        if self.pictures is not None:
            self.pictures.add(name, Hijack.name, read)
        measures, baselines = yardstick.measure(taken.guess)[INPUTS]
        finding = Finding(
            Hijack.name,
            INPUTS,
            measures,
            baselines,
            len(read),
            budget,
            paper=Hijack.paper,
            lies=True,
        )
        turns.took(time.perf_counter() - wall)
        return finding, drill.watch(turns.next())

    def _yardstick(self, truth: Examples) -> Yardstick:
        """For guesses of these, with what a classifier makes of them."""
        if self._classifier is None:
            return Yardstick(truth, self._public)
        labels = self._labels(self._classifier, truth.x)
        return Yardstick(truth, self._public, labels)

    def _findings(
        self,
        name: str,
        client: ClientModel,
        watched: Watched,
        attacks: Sequence[Attack],
        yardstick: Yardstick,
        seconds: float,
    ) -> tuple[list[Finding], dict[str, str]]:
        turns = Turns(seconds, len(attacks))
        seen, truth = watched.last.seen, yardstick.truth
        if self.pictures is None:
            self.pictures = Pictures.of(truth, self._public)
        found: list[Finding] = []
        left_out: dict[str, str] = {}
        for number, attack in enumerate(attacks):
            self._tell(f"Attack, {name}", attack.name)
            told = leak(attack, client, watched, seed=self._seed)
            wall, cpu = time.perf_counter(), time.process_time()
            granted = self._granted.setdefault(number, turns.next())
            try:
                attack.end(told, granted)
                guess = attack.guess(seen)
                measured = yardstick.measure(guess, told.labels)
            except SplitError as error:
                left_out[attack.name] = str(error)
                continue
            finally:
                behind = time.perf_counter() - wall
                turns.took(behind)
            spent = attack.spent()
            budget = Budget(
                watched.steps,
                spent.steps,
                getattr(attack, "steps", 0),
                len(self._public),
                round(behind + watched.seconds[attack.name], 1),
                round(max(spent.cpu_seconds, time.process_time() - cpu), 1),
            )
            if guess.inputs is not None and self.pictures is not None:
                self.pictures.add(name, attack.name, guess.inputs)
            for of, (measures, baselines) in measured.items():
                found.append(
                    Finding(
                        attack.name,
                        of,
                        measures,
                        baselines,
                        len(truth),
                        budget,
                        tuple(sorted(attack.knows)),
                        attack.paper,
                    )
                )
        return found, left_out

    def _labels(self, client: ClientModel, x: _Array) -> _Array:
        """What a model takes examples for."""
        predicted = client.predict(x, batch_size=256, verbose=0)
        labels: _Array = np.asarray(predicted).argmax(-1)
        return labels

    @property
    def _keep(self) -> int:
        """How many examples of the steps that are attacked fit in memory."""
        contract = self._halves[0].contract
        values = sum(
            math.prod(spec.shape)
            for spec in (*contract.smashed, *contract.features)
        )
        fit = _KEPT_BYTES // (2 * 2 * 4 * values)  # both ways, both epochs
        return max(self._batch, min(_KEPT_EXAMPLES, fit))

    @property
    def _left(self) -> float:
        """Seconds."""
        return max(self._began + self._seconds - time.perf_counter(), 1.0)

    def _tell(self, stage: str, detail: str = "") -> None:
        spent = time.perf_counter() - self._began
        self._told(stage, detail, min(spent / self._seconds, 1.0))
