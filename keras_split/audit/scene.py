"""What an attacker knows before a training begins."""

from dataclasses import dataclass
from dataclasses import field
from typing import Any

import keras
import numpy as np

from keras_split.audit.chance import drawn_from
from keras_split.defenses.chain import Chain
from keras_split.protocol.contract import Contract


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and labels.

    Attributes:
        x: Shape `(examples, ...)`, float32, scaled as the model takes it.
        y: Class numbers, shape `(examples,)`, int.
    """

    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Leaked:
    """What an attack is given that a server should not have.

    It is None, or empty, unless the attack says so in `Attack.knows`. So a
    report can say what a reconstruction took.

    Attributes:
        head: The phone's head as it is at the end (`"head"`).
        initial_head: The head as it was before training (`"initial head"`).
        labels: Class numbers of a few of the examples that it is to guess,
            by their place among these (`"labels"`).
    """

    head: keras.Model | None = None
    initial_head: keras.Model | None = None
    labels: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scene:
    """What an attacker knows before a training begins.

    That is the server of a model that was cut twice: it knows architecture
    and contract, has the body, and data of the same kind as the phone's.

    Attributes:
        contract: What the model was cut with.
        body: The server's own, whose weights move while the phone trains;
            nobody may change them.
        head: The phone's layers with other weights; `new_head` makes copies.
        tail: The same of the tail.
        public: Data of the same kind as the phone's, none of them its own.
        classes: How many there are.
        seed: Of all chance in an attack.
        defenses: The phone's, with a seed of the attacker's own: what they
            are is no secret, what they draw is.
    """

    contract: Contract
    body: keras.Model
    head: keras.Model
    tail: keras.Model
    public: Examples
    classes: int
    seed: int = 0
    defenses: Chain = field(default_factory=Chain)

    def new_head(self) -> keras.Model:
        """The layers of the head, with weights drawn anew."""
        with drawn_from(self.seed):
            return keras.models.clone_model(self.head)

    def new_tail(self) -> keras.Model:
        """The layers of the tail, with weights drawn anew."""
        with drawn_from(self.seed):
            return keras.models.clone_model(self.tail)
