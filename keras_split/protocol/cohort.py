"""What is agreed in a cohort: the phones that train one model."""

from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

# How the phones of a server train; docs/many-phones.md compares them.
MODES = ("merged", "private", "shared", "personal")
EPOCH = 0  # as `every`: averaged when the phone has seen all its examples


@dataclass(frozen=True)
class CohortInfo:
    """What a phone is told of the cohort of its server, in `Welcome`.

    Attributes:
        name: 32 hexadecimal digits, which stay when the server is restarted.
        mode: One of `MODES`.
        phones: How many are expected; the training begins when they are here.
        batch: Examples of a merged step, of all phones together; 0 in other
            modes, where each phone has its own batches.
        secure: Whether halves are added up under masks, so that the server
            cannot read one phone's.
        bits: Of the numbers under masks: they are added modulo 2^32 or 2^64.
    """

    name: str
    mode: str
    phones: int
    batch: int = 0
    secure: bool = False
    bits: int = 64


@dataclass(frozen=True)
class AveragingTerms:
    """How halves become one, as all phones of a cohort must say alike.

    Attributes:
        every: Steps from one averaging to the next; `EPOCH` for once an
            epoch.
        what: `"weights"`, or `"gradients"`: then each step's gradients are
            averaged and every phone applies them, so that all halves are one
            at any time. That takes `every=1`.
        batchnorm: `"average"`, or `"local"` for batch normalization that each
            phone keeps to itself.
        optimizer: Config of a Keras optimizer as JSON, which is applied to
            the averaged change; empty for the change as it is.
    """

    every: int = EPOCH
    what: str = "weights"
    batchnorm: str = "average"
    optimizer: str = ""

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class MergedStep:
    """Which step of the cohort a `Forward` belongs to.

    A server that was restarted and lost steps gets them again from all their
    phones, and must make the same steps of them.

    Attributes:
        step: Its number, from 0.
        count: Examples that this phone was asked for.
        members: Who takes part, in the order in which their examples stand
            in the batch.
        ticket: What `Share` said, as it is: the server believes nobody else
            when it has forgotten the step.
    """

    step: int
    count: int
    members: Sequence[int] = ()
    ticket: bytes = b""
