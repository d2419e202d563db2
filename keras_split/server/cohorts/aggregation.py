"""How the contributions of one round become one average."""

import abc
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np

from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Gathered
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.mode import Reply


@dataclass(frozen=True)
class Average:
    """What the contributions of a round are, together.

    Attributes:
        vector: Their mean, shape `(size,)`, float32.
        weight: Of all together.
        members: Whose are in it.
        weights: Of each, by member; nothing if the server must not know.
    """

    vector: np.ndarray[Any, Any]
    weight: float
    members: tuple[int, ...]
    weights: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What is to be averaged, and who hears of the end.

    Attributes:
        cohort: Its name.
        round: Number of the round there.
        size: Numbers in a vector.
        members: Who may contribute.
        finish: Is called once, with the average, by the thread that had the
            last contribution; makes what all of them are told, of stage
            `"value"`. It may raise a `ProtocolError`, for all of them.
        give_up: Is called instead if there will be no average.
    """

    cohort: str
    round: int
    size: int
    members: frozenset[int]
    finish: Callable[[Average], Gathered]
    give_up: Callable[[], None]


class Aggregation(abc.ABC):
    """Takes the contributions of one round, and makes one average of them.

    Its methods are called from the threads of many phones at once.

    Args:
        config: Has the deadline of each stage, and which mean it is.
        task: What is to be averaged.

    Attributes:
        fewest: A round begins with so many phones or more.
        most: And with so many or fewer; None for any number.
    """

    fewest = 1
    most: int | None = None

    def __init__(self, config: CohortConfig, task: Task) -> None:
        self._config = config
        self._task = task

    @abc.abstractmethod
    def give(self, member: int, message: Contribution) -> Reply:
        """What a member contributes at a stage; resolves when it is over.

        Given again, because a connection was lost, it has the same reply.

        Raises:
            ProtocolError: If it is malformed; with reason `"late"`, if the
                member is not, or not any more, in the round.
        """

    @abc.abstractmethod
    def lose(self, member: int) -> None:
        """Nobody waits for a member any more; what it gave counts."""
