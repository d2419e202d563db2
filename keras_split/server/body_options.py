"""What the bodies of a server have in common."""

from dataclasses import dataclass
from dataclasses import field

from keras_split.server.callbacks import ServerCallback
from keras_split.server.guards import GradientLimits


@dataclass(frozen=True)
class BodyOptions:
    """What holds for every body of a server.

    Attributes:
        limits: What gradients are accepted.
        every: Steps from one checkpoint to the next.
        every_bytes: Or bytes of tensors that one session sent meanwhile,
            whichever comes first.
        events: Hears what happens.
        together: Whether sessions take their steps together, so that one
            optimizer is for all of them.
    """

    limits: GradientLimits = field(default_factory=GradientLimits)
    every: int = 100
    every_bytes: int = 100 << 20
    events: ServerCallback = field(default_factory=ServerCallback)
    together: bool = False
