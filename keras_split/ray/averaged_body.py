"""A replica's body, which becomes one with those of other replicas."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from keras_split.aggregation.variables import is_averaged
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.moment import Moment

if TYPE_CHECKING:
    from keras_split.server.body import Body

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class BodyState:
    """What a body has come to.

    Attributes:
        moment: Which moment that is.
        values: Its variables.
        data: What it is trained with.
        steps: That it has learned from so far, in whatever processes.
        past: Moments that it has come through: those of other bodies, too,
            which it has from earlier averages.
    """

    moment: Moment
    values: Sequence[_Array]
    data: DataDigest = DataDigest()
    steps: int = 0
    past: tuple[Moment, ...] = ()


@dataclass(frozen=True, eq=False)
class Kept:
    """A `BodyState` in Ray's memory.

    Attributes:
        moment: Its moment.
        reference: To it, in a list, which Ray does not look into.
    """

    moment: Moment
    reference: list[Any]


@dataclass(frozen=True, eq=False)
class Average:
    """The mean of bodies.

    Attributes:
        mean: It. Its moment counts averages, in a run of their own.
        moments: Of the bodies that it is of, and what they came through.
    """

    mean: Kept
    moments: tuple[Moment, ...]


class AveragedBody:
    """A replica's body, which becomes one with those of other replicas.

    Nobody waits between `give` and `take`. What the body learns meanwhile, or
    while its replica was away, is kept: a trained weight moves by what the
    mean is away from what the body had, its *base*. Where nothing was learned
    it is the mean then, bit for bit. Statistics are those of the mean in any
    case, for a variance must not be moved below zero; slots of optimizers,
    integers and states of seeds stay those of the replica.

    Args:
        body: It.
        fetch: Gets what is kept; None if it is lost.
    """

    def __init__(
        self,
        body: "Body",
        fetch: Callable[[Kept], BodyState | None],
    ) -> None:
        self._body, self._fetch = body, fetch

    def give(self) -> BodyState:
        """The body as it is now, which a checkpoint has as well.

        Who dies behind it goes on from there, or later: a step that is in the
        mean is not taken again.

        Raises:
            ProtocolError: With reason `"checkpoint"`, if that cannot be
                written.
        """
        half = self._body.half
        with self._body.turns.take(""):
            self._body.make_durable(anyway=True)
            with half.lock:
                return BodyState(
                    half.timeline.moment,
                    half.weights(),
                    half.data,
                    half.timeline.learned,
                    half.timeline.past,
                )

    def take(self, average: Average, bases: Sequence[Kept]) -> Moment:
        """Gives the body what an average brings; a second time does nothing.

        Args:
            average: It.
            bases: What the body may have gone on from, newest first. One that
                comes from none of them is replaced.

        Returns:
            At which moment it is then.

        Raises:
            ProtocolError: With reason `"data"`, if it is trained with other
                data; nothing has changed.
        """
        half = self._body.half
        mean = self._fetch(average.mean)
        assert mean is not None, "the front keeps it"
        with self._body.turns.take(""), half.lock:
            if half.timeline.includes(average.mean.moment):
                return half.timeline.moment
            half.data.check(mean.data)
            half.set_weights(self._moved(mean, self._base(bases)))
            half.timeline = half.timeline.averaged(
                [*average.moments, average.mean.moment]
            )
            half.data = half.data.or_else(mean.data)
            return half.timeline.moment

    def keep(self) -> None:
        """Writes a checkpoint, if there are any."""
        with self._body.turns.take(""):
            self._body.write()

    def _base(self, bases: Sequence[Kept]) -> BodyState | None:
        """The newest that the body went on from, and that is not lost."""
        timeline = self._body.half.timeline
        for kept in bases:
            # Each began as the body that was served.
            if not kept.moment or timeline.includes(kept.moment):
                found = self._fetch(kept)
                if found is not None:
                    return found
        return None

    def _moved(
        self, mean: BodyState, base: BodyState | None
    ) -> Sequence[_Array]:
        half = self._body.half
        trained = {id(variable) for variable in half.body.trainable_variables}
        made = []
        for i, (variable, now) in enumerate(
            zip(half.body.variables, half.weights(), strict=True)
        ):
            if not is_averaged(now):
                made.append(now)
            elif base is None or id(variable) not in trained:
                made.append(np.array(mean.values[i]))  # not Ray's memory
            else:
                made.append(_moved(now, base.values[i], mean.values[i]))
        return made


def _moved(now: _Array, base: _Array, to: _Array) -> _Array:
    """`now + (to - base)`; exactly `to` where nothing was learned since."""
    by = to.astype(np.float64) - base
    moved = (now + by).astype(now.dtype)
    kept: _Array = np.where(now == base, to, moved)
    return kept
