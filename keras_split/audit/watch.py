"""A training before an honest server that is curious."""

import math
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_split.audit.attack import Attack
from keras_split.audit.recorder import Recorder
from keras_split.audit.scene import Examples
from keras_split.audit.scene import Leaked
from keras_split.audit.scene import Scene
from keras_split.audit.seen import Seen
from keras_split.client.strategy import SplitStrategy
from keras_split.defenses.chain import Chain
from keras_split.models import ClientModel
from keras_split.models import ServerModel


@dataclass(frozen=True, eq=False)
class Kept:
    """Some steps as a server saw them, and what it would like to know.

    Attributes:
        seen: The steps.
        truth: Their examples, in order.
    """

    seen: Sequence[Seen]
    truth: Examples


@dataclass(frozen=True, eq=False)
class Watched:
    """A training that was watched.

    Attributes:
        first: Of the first epoch.
        last: The last steps of the last epoch.
        initial_head: The head as it was before.
        seconds: What the attacks took beside it, by name.
        steps: How many were taken.
    """

    first: Kept
    last: Kept
    initial_head: keras.Model
    seconds: dict[str, float]
    steps: int


def scene_of(
    client: ClientModel,
    server: ServerModel,
    public: Examples,
    classes: int,
    seed: int = 0,
) -> Scene:
    """What the server of these two knows; the phone's weights are not in it."""
    assert client.tail is not None
    return Scene(
        client.contract,
        server.body,
        keras.models.clone_model(client.head),
        keras.models.clone_model(client.tail),
        public,
        classes,
        seed,
        # Beyond the 128 bits that the seed of a phone is one of.
        Chain(client.defenses.describe(), seed=seed + (1 << 128)),
    )


def watch(
    client: ClientModel,
    server: ServerModel,
    data: Examples,
    attacks: Sequence[Attack],
    scene: Scene,
    *,
    epochs: int,
    batch_size: int,
    keep: int = 2000,
    steps: int | None = None,
    seconds: float = math.inf,
    told: Callable[[int, float], None] | None = None,
) -> Watched:
    """Trains a client as ever, while attacks see what its server sees.

    After the first epoch it ends with one, so that no example is kept twice.

    Args:
        client: Compiled; trains with the server in this process.
        server: Its server.
        data: The phone's.
        attacks: Hear of the scene and of each step.
        scene: What they know.
        epochs: How long it trains, at most.
        batch_size: Examples in a step; what is left over is not trained on.
        keep: How many examples of the first and of the last epoch are kept.
        steps: The same in steps.
        seconds: The same in seconds, attacks and all; about. One step is
            always taken.
        told: Is told how many steps were taken, and the loss of the last.
    """
    initial = keras.models.clone_model(client.head)
    initial.set_weights(client.head.get_weights())
    spent = dict.fromkeys((attack.name for attack in attacks), 0.0)
    an_epoch = len(data) // batch_size
    most = epochs * an_epoch if steps is None else steps
    kept_steps = min(an_epoch, -(-keep // batch_size))
    first: list[tuple[Seen, np.ndarray[Any, Any]]] = []
    last: deque[tuple[Seen, np.ndarray[Any, Any]]] = deque(maxlen=kept_steps)
    batch = np.arange(0)

    def saw(step: Seen) -> None:
        last.append((step, batch))
        if len(first) < kept_steps:
            first.append((step, batch))
        for attack in attacks:
            began = time.perf_counter()
            attack.saw(step)
            spent[attack.name] += time.perf_counter() - began

    for attack in attacks:
        attack.begin(scene)
    tap = Recorder(client.contract, saw)
    client._server_link.use(SplitStrategy(taps=[tap]))
    rng = np.random.default_rng(scene.seed)
    taken, began = 0, time.perf_counter()
    for epoch in range(-(-most // an_epoch)):
        elapsed = time.perf_counter() - began
        if epoch and elapsed * (epoch + 1) > seconds * epoch:
            break  # another one, as long as those before, would not fit
        last.clear()
        order = rng.permutation(len(data))[: an_epoch * batch_size]
        for batch in order.reshape(an_epoch, batch_size)[: most - taken]:
            loss = client.train_on_batch(data.x[batch], data.y[batch])
            taken += 1
            if told is not None:
                told(taken, float(np.ravel(loss)[0]))
            if not epoch and time.perf_counter() - began > seconds:
                most = taken
                break
    return Watched(_kept(first, data), _kept(last, data), initial, spent, taken)


def _kept(
    steps: Sequence[tuple[Seen, np.ndarray[Any, Any]]], data: Examples
) -> Kept:
    chosen = np.concatenate([batch for _, batch in steps])
    truth = Examples(data.x[chosen], data.y[chosen])
    return Kept([seen for seen, _ in steps], truth)


def leak(
    attack: Attack,
    client: ClientModel,
    watched: Watched,
    *,
    kept: Kept | None = None,
    seed: int = 0,
) -> Leaked:
    """What an attack is given, of what it asks for in `knows`.

    Args:
        attack: It.
        client: Trained.
        watched: The training.
        kept: The steps that it is to guess, of which it is told some labels;
            the last ones by default.
        seed: Of which labels these are.
    """
    labels: dict[int, int] = {}
    if "labels" in attack.knows:
        rng = np.random.default_rng(seed)
        y = (kept or watched.last).truth.y
        for name in np.unique(y):
            places = np.flatnonzero(y == name)
            for place in rng.permutation(places)[: attack.labels_per_class]:
                labels[int(place)] = int(name)
    return Leaked(
        client.head if "head" in attack.knows else None,
        watched.initial_head if "initial head" in attack.knows else None,
        labels,
    )
