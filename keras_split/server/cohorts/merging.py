"""One step of the body that several phones take together."""

import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.protocol import gradient_norm
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import SmashedGrad
from keras_split.server.callbacks import ServerCallback
from keras_split.server.callbacks import StepCommitted
from keras_split.server.callbacks import StepMerged
from keras_split.server.cohorts.gathering import Gathering
from keras_split.server.session import Session
from keras_split.server.steps import Share
from keras_split.utils import workers

if TYPE_CHECKING:
    from keras_split.server.body import Body
    from keras_split.training.server_merged import ServerMerged

_TURN = "merged"  # whose turn of the body it is


@dataclass(frozen=True)
class Given:
    """What one phone gives to the step.

    Attributes:
        session: The phone's.
        share: Its part.
    """

    session: Session
    share: Share


@dataclass(frozen=True)
class Terms:
    """What holds for all steps of a cohort.

    Attributes:
        body: Takes them.
        events: Hears of them.
        deadline_s: How long each half of a step waits for a phone.
        clip: Gradients of one phone whose norm an example is more than so
            many times the median phone's are scaled down; None for as they
            are.
        taken: Is told of a step, while the body's lock is held.
        late: Is told of phones that are no longer waited for in a step.
        over: Is told of one that was taken, or came to nothing.
    """

    body: "Body"
    events: ServerCallback
    deadline_s: float
    clip: float | None
    taken: Callable[["Merging"], None]
    late: Callable[["Merging", set[int]], None]
    over: Callable[["Merging"], None]


class Merging:
    """One step of the body that several phones take together.

    It goes forward once, over the smashed data of all that have come in time,
    and backward once. A phone that is late with its gradients has none in the
    update; its examples are in the statistics of the batch.

    Args:
        number: Of the step in the cohort.
        members: Who was asked for examples, in the order of the batch.
        terms: As for all steps.

    Attributes:
        number: The same.
        members: The same.
    """

    def __init__(
        self, number: int, members: Sequence[int], terms: Terms
    ) -> None:
        self.number = number
        self.members = tuple(members)
        self._terms = terms
        self._began = time.monotonic()
        self._forward_s = 0.0
        self._order: list[int] = []
        self._step: ServerMerged | None = None
        self._forwards = Gathering[Given](
            members,
            terms.deadline_s,
            self._forward,
            f"the smashed data of step {number} of the cohort",
        )
        self._backwards: Gathering[Given] | None = None
        self._lost: set[int] = set()
        self._forwards.begin()

    def forward(self, member: int, given: Given) -> "Future[Message]":
        """A phone's smashed data; resolves with its features.

        Raises:
            ProtocolError: With reason `"late"`, if it is too late.
        """
        return self._forwards.give(member, given)

    def backward(self, member: int, given: Given) -> "Future[Message]":
        """A phone's gradients; resolves with those of its smashed data.

        Raises:
            ProtocolError: With reason `"late"`, if it is too late.
        """
        if self._backwards is None:
            raise ProtocolError(
                f"Expected the features of step {self.number} of the cohort "
                "to be there before their gradients. Received: a Backward "
                "first. Wait for the reply to the Forward.",
                "order",
            )
        return self._backwards.give(member, given)

    def lacks(self, member: int) -> bool:
        """Whether the step still waits for the smashed data of a phone."""
        forwards = self._forwards
        return not forwards.closed and forwards.lacks(member)

    def lose(self, member: int) -> None:
        """Nobody waits for a phone any more; it may compute.

        Smashed data that it gave count, as it has no gradients.
        """
        self._lost.add(member)
        for gathering in (self._forwards, self._backwards):
            if gathering is not None:
                gathering.lose(member)
                if not gathering.expected:
                    gathering.expire()

    def _forward(self, given: Mapping[int, Given]) -> Mapping[int, Message]:
        self._terms.late(self, set(self.members) - given.keys())
        if not given:
            self._over()
            return {}
        self._order = [member for member in self.members if member in given]
        shares = [given[member].share for member in self._order]
        means, body = shares[0].means, self._terms.body
        try:
            with body.turns.take(_TURN):
                began = time.perf_counter()
                self._step = step = means.half.merged(
                    [share.smashed for share in shares],
                    means.optimizer,
                    smashed_grad=any(share.smashed_grad for share in shares),
                )
                features, penalty = step.forward()
                self._forward_s = time.perf_counter() - began
            body.guard.features(features)
        except BaseException:
            self._over()
            raise
        self._backwards = Gathering[Given](
            {*self._order} - self._lost,
            self._terms.deadline_s,
            self._backward,
            f"the gradients of step {self.number} of the cohort",
        )
        self._backwards.begin()
        if not self._backwards.expected:
            workers.start(self._backwards.expire)
        return {
            member: Features(given[member].share.number, tensors, penalty)
            for member, tensors in zip(
                self._order, step.of_each(features), strict=True
            )
        }

    def _backward(self, given: Mapping[int, Given]) -> Mapping[int, Message]:
        self._terms.late(self, set(self._order) - given.keys())
        if not given:
            self._over()
            return {}
        try:
            replies = self._taken(given)
        except BaseException:
            self._over()
            raise
        self._terms.events.merged(
            StepMerged(
                self.number,
                tuple(m for m in self._order if m in given),
                tuple(sorted(set(self.members) - given.keys())),
                time.monotonic() - self._began,
                sum(each.share.count for each in given.values()),
            )
        )
        self._over()
        return replies

    def _taken(self, given: Mapping[int, Given]) -> Mapping[int, Message]:
        body, step = self._terms.body, self._step
        assert step is not None
        there = [member for member in self._order if member in given]
        shares = {member: given[member].share for member in there}
        grads = self._clipped(shares)
        with body.turns.take(_TURN) as queue_s:
            began = time.perf_counter()
            with body.half.lock:
                made = step.of_each(
                    step.backward(
                        [grads.get(member) for member in self._order],
                        _rate([*shares.values()]),
                    )
                )
                body.half.timeline = body.half.timeline.stepped()
                took_s = self._forward_s + time.perf_counter() - began
                for member, tensors in zip(self._order, made, strict=True):
                    if member in shares:
                        share = shares[member]
                        reply = SmashedGrad(
                            share.number, tensors if share.smashed_grad else []
                        )
                        given[member].session.took([reply], took_s / len(there))
                self._terms.taken(self)
            return self._told(given, queue_s)

    def _told(
        self, given: Mapping[int, Given], queue_s: float
    ) -> Mapping[int, Message]:
        """Tells of the step, and makes the replies; in the body's turn."""
        body, events = self._terms.body, self._terms.events
        sessions = {member: each.session for member, each in given.items()}
        for session in sessions.values():
            events.committed(StepCommitted.last_of(session, queue_s))
        # For checkpoints it is one step, and who is new must be in the next.
        most = max(given.values(), key=lambda each: each.share.count)
        body.stepped(most.session)
        for session in sessions.values():
            if session.next_step == 1 and session is not most.session:
                body.stepped(session)
        return {
            member: body.with_durable(session.last_reply, session)
            for member, session in sessions.items()
        }

    def _clipped(
        self, shares: Mapping[int, Share]
    ) -> dict[int, list[CutTensor]]:
        """Each phone's gradients, within what the median phone's are.

        Those of the mean over n examples have a norm of about that of one
        example by the root of n.
        """
        grads = {m: share.features_grad or [] for m, share in shares.items()}
        clip, body = self._terms.clip, self._terms.body
        if clip is None or len(shares) < 2:
            return grads
        rule = body.half.contract.quantization.gradients
        norms = {
            member: body.guard.norm(tensors) * shares[member].count ** 0.5
            for member, tensors in grads.items()
        }
        largest = clip * float(np.median([*norms.values()]))
        for member, norm in norms.items():
            if norm > largest:
                grads[member] = gradient_norm.scaled(
                    grads[member], largest / norm, rule
                )
        return grads

    def _over(self) -> None:
        if self._step is not None:
            self._step.abandon()
        self._terms.over(self)


def _rate(shares: Sequence[Share]) -> float:
    """The learning rate of a step: in the mean, where phones differ."""
    rates = {share.learning_rate for share in shares}
    if len(rates) == 1:
        return rates.pop()
    counts = [share.count for share in shares]
    return float(
        np.average([share.learning_rate for share in shares], weights=counts)
    )
