"""Measures a server: half a minute of bodies, in Keras and TensorFlow."""

import functools
import platform
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from keras_split.errors import OptionError
from keras_split.planner import bodies
from keras_split.planner.bodies import BodyProbe
from keras_split.planner.fit import Sample
from keras_split.planner.fit import fit_tables
from keras_split.planner.profile import SERVER_REFERENCE
from keras_split.planner.profile import Profile
from keras_split.planner.work import Work
from keras_split.planner.work import crossing
from keras_split.planner.work import work_of

_FEWEST = 2
# Every body runs in each round, so that a busy moment does not fall on one.
_ROUNDS = 2
# Each body runs with so many examples, for batches say what calls cost.
BATCHES = (1, 8)
# Between its passes a server waits for a network, and what it computes with
# has left the caches and its threads sleep: MobileNetV2's body takes 1.4 times
# as long with 1 example as it does again and again.
_WAIT = 0.01
_CACHES = 2**27
# A body that has NaN takes no more steps, so its weights are to stand still.
_LEARNING_RATE = 1e-9


@dataclass(frozen=True, eq=False)
class Body:
    """A body on this machine, ready to take steps.

    Attributes:
        work: Of one example, with its crossings.
        batch: Examples.
        step: Takes one; says how long forward and backward took.
    """

    work: Work
    batch: int
    step: Callable[[], tuple[float, float]]


def probe_server(
    *,
    name: str = "server",
    seconds: float = 30.0,
    chosen: Sequence[BodyProbe] | None = None,
    prior: Profile | None = None,
    progress: Callable[[float], object] | None = None,
) -> Profile:
    """Runs bodies on this machine as `serve` would, and fits its rates.

    A body's step is timed from smashed data to features, and from their
    gradients to those of the smashed data and the update, each after a short
    wait as for a network. Building and tracing the bodies takes some 20
    seconds, which are not in `seconds`.

    Args:
        name: Of the profile.
        seconds: For how long to measure, about.
        chosen: Other bodies than `bodies.bodies()`.
        prior: A profile whose rates hold, at this machine's speed, where the
            bodies leave something open; by default that of
            `SERVER_REFERENCE`.
        progress: Is called with the part that is done, 0 to 1.

    Raises:
        OptionError: If there is no time to measure.
    """
    probes = bodies.bodies() if chosen is None else list(chosen)
    if seconds <= 0 or not probes:
        raise OptionError(
            "Expected seconds above 0, and 1 body or more. Received: "
            f"{seconds} and {len(probes)}."
        )
    before = prior or Profile.load(SERVER_REFERENCE)
    ready: list[Body] = []
    for number, probe in enumerate(probes):
        ready += make_bodies(*bodies.build(probe), BATCHES)
        if progress is not None:
            progress((number + 1) / len(probes) / 2)
    for body in ready:
        body.step()  # the first one takes as long as twenty
    share = seconds / (len(ready) * _ROUNDS)
    found: list[list[tuple[float, float]]] = [[] for _ in ready]
    for number in range(_ROUNDS * len(ready)):
        which = number % len(ready)
        found[which].append(times(ready[which], share))
        if progress is not None:
            progress(0.5 + (number + 1) / (_ROUNDS * len(ready)) / 2)
    samples: dict[str, list[Sample]] = {}
    for which, phase in enumerate(("body_forward", "body_backward")):
        samples[phase] = [
            Sample(phase, body.work, body.batch, min(t[which] for t in spans))
            for body, spans in zip(ready, found, strict=True)
        ]
    tables, cache = fit_tables(samples, before)
    about = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "tensorflow": version("tensorflow"),
        "threads": "TensorFlow's choice",
        "clock": "wall",
    }
    return Profile(name, tables, None, cache, about)


def times(body: Body, seconds: float) -> tuple[float, float]:
    """Medians of forward and backward.

    Args:
        body: What takes steps.
        seconds: For how long, about; 2 steps at least.
    """
    found: list[tuple[float, float]] = []
    began = time.perf_counter()
    while len(found) < _FEWEST or time.perf_counter() - began < seconds:
        found.append(body.step())
    forward, backward = np.median(np.array(found), 0)
    return float(forward), float(backward)


def make_bodies(
    model: Any, cut: list[str], batches: Sequence[int]
) -> list[Body]:
    """The body of a model, as a server runs it, for some sizes of a batch.

    Args:
        model: A Keras model.
        cut: Where it is cut, twice.
        batches: Examples of a step.
    """
    import keras

    from keras_split.compression.rules import Quantization
    from keras_split.partition import Partition
    from keras_split.partition.graph import Graph
    from keras_split.training import any_batch
    from keras_split.training.server_step import ServerHalf

    partition = Partition(model, cut)
    contract = partition.contract(Quantization("int8"), fused_batchnorm=True)
    body = partition.body.model
    half = ServerHalf(body, contract)
    optimizer = half.adopt(keras.optimizers.SGD(_LEARNING_RATE, momentum=0.9))
    shapes = [s.shape for s in (*contract.smashed, *contract.features)]
    work = work_of(Graph(body).calls) + crossing(shapes)
    any_batch.trace(half, optimizer)
    return [Body(work, n, _step(half, optimizer, n)) for n in batches]


def _step(
    half: Any, optimizer: Any, batch: int
) -> Callable[[], tuple[float, float]]:
    """What takes a step of a batch, of random numbers."""
    contract, codecs = half.contract, half.cut_codecs
    chance = np.random.default_rng(0)

    def random(codec: Any, specs: Any) -> Any:
        values = [
            chance.standard_normal((batch, *spec.shape), np.float32)
            for spec in specs
        ]
        return codec.wrap([part.numpy() for part in codec.quantize(values)])

    smashed = random(codecs.smashed, contract.smashed)
    grads = random(codecs.features_grad, contract.features)

    def step() -> tuple[float, float]:
        _wait()
        began = time.perf_counter()
        _, _, waiting = half.forward(smashed, optimizer)
        forward = time.perf_counter() - began
        _wait()
        began = time.perf_counter()
        half.backward(waiting, smashed, grads, optimizer, _LEARNING_RATE)
        return forward, time.perf_counter() - began

    return step


@functools.cache
def _other() -> Any:
    return np.ones(_CACHES, np.uint8)


def _wait() -> None:
    """As for a network."""
    _other().max()
    time.sleep(_WAIT)
