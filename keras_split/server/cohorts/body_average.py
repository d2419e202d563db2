"""The bodies of phones, one each, which become one at the end of a round."""

import threading
import weakref
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from keras_split.aggregation.means import Mean
from keras_split.aggregation.variables import is_averaged
from keras_split.aggregation.variables import mean_of_variables
from keras_split.protocol.moment import Moment
from keras_split.server.body import Body
from keras_split.server.cohorts.aggregation import Average
from keras_split.server.cohorts.along import Along
from keras_split.server.cohorts.config import CohortConfig

if TYPE_CHECKING:
    from keras_split.server.bodies import Bodies
    from keras_split.server.session import Session


class BodyAverage(Along):
    """Averages the bodies of a round in the same moment as the halves.

    Each counts with the examples that its steps have had in the round; where
    steps do not say (those in one graph with their client), as much as its
    half. All floats are averaged, statistics of batch normalization as well;
    integers and the states of seeds stay what they are in each, and so do the
    slots of optimizers. Everybody gets the result, and newcomers begin with
    it.

    Args:
        config: Says which mean it is.
        bodies: One for each phone.
    """

    def __init__(self, config: CohortConfig, bodies: "Bodies") -> None:
        self._mean = Mean(config.mean, config.trim, config.clip_update_norm)
        self._bodies = bodies
        self._lock = threading.Lock()
        self._sessions: weakref.WeakValueDictionary[int, Session] = (
            weakref.WeakValueDictionary()
        )
        # Of those that contributed, whatever becomes of their sessions.
        self._gave: dict[int, Session] = {}
        # Session of each member, and its examples, when the round began. A
        # phone that is started again has another one, which counts from 0.
        self._before: dict[int, tuple[str, int]] = {}
        # Bodies that were given the average, and the moment that they were
        # at; at another one they come from elsewhere.
        self._alike: weakref.WeakKeyDictionary[Body, Moment] = (
            weakref.WeakKeyDictionary()
        )

    def heard(self, member: int, session: "Session", *, gives: bool) -> None:
        """A member says something.

        Args:
            member: Its number.
            session: Has its body.
            gives: Whether it contributes to the round.
        """
        with self._lock:
            self._sessions[member] = session
            if gives:
                self._gave[member] = session

    def begun(self, members: Iterable[int]) -> None:
        """Those who come from elsewhere get the body of the others."""
        self._gave.clear()
        for member in members:
            with self._lock:
                session = self._sessions.get(member)
            if session is None:
                continue
            body = session.body
            if self._alike.get(body) != body.half.timeline.moment:
                self._give(body)
                _write(body)
            self._before[member] = session.name, session.examples

    def ended(self, average: Average) -> None:
        """The bodies of those that contributed become one, for all."""
        with self._lock:
            gave, self._gave = self._gave, {}
            there = {m: gave[m] for m in average.members if m in gave}
        if not there:
            return
        served = self._bodies.half
        values = [session.body.half.weights() for session in there.values()]
        weights = self._weights(there, average.weights)
        made = mean_of_variables(served.weights(), values, weights, self._mean)
        served.set_weights(made)
        for body in self._bodies:
            self._give(body)

    def written(self) -> None:
        """What phones send again after a restart are steps of their round."""
        for body in self._bodies:
            _write(body)

    def state(self) -> dict[str, list[Any]]:
        """Plain values: of each member, where it was when the round began."""
        return {str(member): [*at] for member, at in self._before.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave, or that of an older version.

        That knew no sessions: what it said is of whichever there is.
        """
        self._before = {
            int(member): ("", at) if isinstance(at, int) else (at[0], at[1])
            for member, at in state.items()
        }

    def _weights(
        self, there: Mapping[int, "Session"], said: Mapping[int, float]
    ) -> list[float]:
        seen = {m: self._seen(m, session) for m, session in there.items()}
        weights = [seen[m] or said.get(m, 0.0) for m in there]
        return weights if any(weights) else [1.0] * len(weights)

    def _seen(self, member: int, session: "Session") -> int:
        """Examples that a member has had in the round."""
        name, before = self._before.get(member, ("", 0))
        if name not in ("", session.name):
            before = 0
        return max(session.examples - before, 0)

    def _give(self, body: Body) -> None:
        """A body is as the one that is served, but for its integers."""
        served, half = self._bodies.half.weights(), body.half
        with half.lock:
            own = half.weights()
            half.set_weights(
                [
                    new if is_averaged(new) else kept
                    for new, kept in zip(served, own, strict=True)
                ]
            )
            self._alike[body] = half.timeline.moment


def _write(body: Body) -> None:
    with body.turns.take(""):
        body.write()
