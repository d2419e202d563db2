"""An average of vectors that the server can read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.aggregation.means import Mean
from keras_split.errors import ProtocolError
from keras_split.protocol import vectors
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.messages import Message
from keras_split.server.cohorts.aggregation import Aggregation
from keras_split.server.cohorts.aggregation import Average
from keras_split.server.cohorts.aggregation import Task
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.gathering import Gathering
from keras_split.server.cohorts.mode import Reply

MAX_WEIGHT = 2.0**40  # examples of one phone in a round


def mean_of(config: CohortConfig) -> Mean:
    """The mean that a config asks for."""
    return Mean(config.mean, config.trim, config.clip_update_norm)


@dataclass(frozen=True)
class _Value:
    vector: np.ndarray[Any, Any]
    weight: float


class Plain(Aggregation):
    """An average of vectors that the server can read.

    Args:
        config: As in `Aggregation`.
        task: Likewise.
    """

    def __init__(self, config: CohortConfig, task: Task) -> None:
        super().__init__(config, task)
        self._values = Gathering[_Value](
            task.members,
            config.round_deadline_s,
            self._close,
            f"what phones learned in round {task.round}",
        )

    def give(self, member: int, message: Contribution) -> Reply:
        """What a member contributes; resolves with the average."""
        if message.stage != "value":
            raise ProtocolError(
                "Expected a value, for halves are not added up under masks "
                f"here. Received: a contribution of stage {message.stage!r}.",
                "order",
            )
        if not 0 <= message.weight <= MAX_WEIGHT:
            raise ProtocolError(
                "Expected the number of examples as the weight of a "
                f"contribution. Received: {message.weight}.",
                "protocol",
            )
        vector = vectors.from_tensors(message.tensors, self._task.size)
        return self._values.give(member, _Value(vector, message.weight))

    def lose(self, member: int) -> None:
        """Nobody waits for a member any more; what it gave counts."""
        self._values.lose(member)
        if not self._values.expected:
            self._task.give_up()

    def _close(self, given: Mapping[int, _Value]) -> Mapping[int, Message]:
        members = tuple(sorted(given))
        weights = [given[member].weight for member in members]
        vectors_of_all = [given[member].vector for member in members]
        vector = mean_of(self._config).of(vectors_of_all, weights)
        total = float(sum(weights))
        of_each = dict(zip(members, weights, strict=True))
        told = self._task.finish(Average(vector, total, members, of_each))
        return dict.fromkeys(given, told)
