"""What a server tries in order to find out what a phone trains on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.audit.scene import Leaked
from keras_split.audit.scene import Scene
from keras_split.audit.seen import Seen

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Guess:
    """What an attack makes of some examples, in their order.

    Whatever it says nothing of is None.

    Attributes:
        inputs: Reconstructions, shape `(examples, ...)`, float32; of the first
            examples alone if there are fewer.
        labels: Class numbers, shape `(examples,)`.
        clusters: Numbers of classes whose names it does not know, shape
            `(examples,)`: scored under the best naming.
        members: How sure it is that an example was trained on, larger for
            surer, shape `(examples,)`.
    """

    inputs: _Array | None = None
    labels: _Array | None = None
    clusters: _Array | None = None
    members: _Array | None = None


@dataclass(frozen=True)
class Spent:
    """What an attack took.

    Attributes:
        steps: Of its own, of whatever kind.
        seconds: On the clock.
        cpu_seconds: Of all threads of the process meanwhile, so with those of
            what else ran in it.
    """

    steps: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Attack:
    """What a server tries in order to find out what a phone trains on.

    It hears of the scene, then of every step as the server does, and says at
    the end what it makes of some of them. A subclass computes in `saw`, beside
    the training, or in `end`.

    Attributes:
        name: Of the attack, as in the paper.
        paper: Where it is from, and what of it is left out here.
        knows: What it is given beside what a server has: any of `"head"`,
            `"initial head"`, `"labels"`; see `Leaked`.
        labels_per_class: How many labels of each class it is given, if it
            knows `"labels"`.
    """

    name = ""
    paper = ""
    knows: frozenset[str] = frozenset()
    labels_per_class = 1

    def begin(self, scene: Scene) -> None:
        """A training begins."""

    def saw(self, seen: Seen) -> None:
        """A step was taken; called for each, in their order."""

    def end(self, leaked: Leaked, seconds: float) -> None:
        """The training is over.

        Args:
            leaked: What `knows` asked for.
            seconds: How long it may compute now; about.
        """

    def spent(self) -> Spent:
        """What it computed so far, all of it; a longer attack gets more."""
        return Spent()

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """What it makes of the examples of some steps; called after `end`."""
        raise NotImplementedError
