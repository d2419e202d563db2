"""One client's run with one server, seen from the server."""

import contextlib
import logging
import time
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from keras_split.errors import PartialCommitError
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Release
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import SnapshotTaken
from keras_split.protocol.moment import Moment
from keras_split.server import steps
from keras_split.server.accounts import Account
from keras_split.server.body import Body
from keras_split.server.flood import Flood
from keras_split.server.kept_rows import KeptRows
from keras_split.server.session_state import SessionState
from keras_split.server.session_state import not_open
from keras_split.server.steps import Early
from keras_split.server.steps import Means
from keras_split.server.steps import Share
from keras_split.server.steps import Step
from keras_split.server.steps import StepMessage

if TYPE_CHECKING:
    from keras_split.training.body_optimizer import BodyOptimizer

_LOG = logging.getLogger("keras_split.server")
_WORDS = Flood()


class Session:
    """Follows the steps of one client: their order, and the last replies.

    A forward changes nothing and may be repeated. A backward commits its
    step once; repeated, it returns the stored reply. What a step does is in
    `keras_split.server.steps`.

    Args:
        start: A new session has a name, a client and configs; one that comes
            back has the rest.
        body: What it trains.

    Attributes:
        name: Its name, chosen by the server.
        client: Whose it is.
        data: What its client's data is.
        body: The same.
        optimizer: Updates the body's weights.
        next_step: The first step that was not taken yet.
        moment: Of the body after the last step; empty if none was taken here.
        compute_s: What the last step took, forward and backward.
        examples: In all steps that were taken by messages.
        rows: What it keeps of smashed data; None if it is not asked to.
        resting: Whether its client went away, and may come back.
        known_steps: How many steps its client knew to be taken when it came
            back; those that are not taken here were lost.
    """

    def __init__(self, start: SessionState, body: Body) -> None:
        self.name = start.name
        self.client = start.client
        self.data = start.data
        self.body = body
        self.next_step = start.next_step
        self.moment = Moment()
        self.compute_s = 0.0
        self.examples = start.examples
        self._says_data = bool(start.data)
        self._start = start
        self.optimizer = body.optimizer(start.optimizer, start.loss)
        self._means = Means(body.half, self.optimizer, body.guard)
        self._step: Step | None = None
        self.rows: KeptRows | None = None
        self.resting = self._closed = False
        self.known_steps = 0
        self._rate_known = start.next_step > 0
        self._last_replies = start.replies
        self._replied_at = 0.0
        if start.slots:
            with body.half.lock:
                _check_slots(self.optimizer, start.slots)
                self.optimizer.set_weights(start.slots)

    @property
    def in_flight(self) -> bool:
        """Whether a forward waits for its backward, and its client is there."""
        step = self._step
        return step is not None and step.waits and not self.resting

    @property
    def account(self) -> Account:
        """Where what its steps take is counted."""
        return self._means.account

    @account.setter
    def account(self, account: Account) -> None:
        self._means = replace(self._means, account=account)

    @property
    def last_reply(self) -> Message:
        """The reply to the last step that was taken."""
        return self._last_replies[-1]

    def begins(self, message: Message) -> bool:
        """Whether a message begins a step, or begins one anew."""
        if not isinstance(message, Forward):
            return isinstance(message, LabeledStep)
        step = self._step
        return not (
            step is not None
            and step.number == message.step
            and step.belongs(message)
        )

    def state(self) -> SessionState:
        """What outlives the server; the body's lock must be held."""
        slots = () if self.optimizer.lasting else self.optimizer.weights()
        return replace(
            self._start,
            next_step=self.next_step,
            replies=self._last_replies,
            slots=slots,
            replied_at=self._replied_at,
            examples=self.examples,
        )

    @contextlib.contextmanager
    def joint_step(self) -> Iterator[None]:
        """Surrounds a step that runs in the graph of its client.

        It counts as taken unless it raises; if it raises a
        `PartialCommitError`, too.
        """
        with self.body.half.lock:
            if self._closed:
                raise RefusedError(str(not_open()), "session")
            self.rest()
            self.resting = False
            self.optimizer.take_over()
            began = time.perf_counter()
            taken = False
            try:
                yield
                taken = True
            except PartialCommitError:
                taken = True
                raise
            finally:
                if taken:
                    self._committed([], time.perf_counter() - began)

    def rest(self) -> None:
        """Frees what a step in flight holds; its client brings it back."""
        self.resting = True
        if self._step is not None:
            self._step.abandon()

    def handle(self, message: Message, early: Early | None = None) -> Message:
        """Answers one message.

        Args:
            message: What came.
            early: Sends a reply that goes before the one that is returned;
                must not wait. None if its client can take one alone.

        Raises:
            ProtocolError: If the message is out of order or malformed.
        """
        if self._closed:
            raise not_open()
        self.resting = False
        try:
            return self._handle(message, early)
        finally:
            # Its end, or its client's, may have come meanwhile, and found
            # nothing yet to let go of.
            if self._closed:
                self.close()
            elif self.resting:
                self.rest()

    def share(self, message: Forward | Backward) -> Share | Message:
        """What a message gives to a step that others take part in.

        Whoever has the shares of all takes the step, and says so with `took`.

        Returns:
            The session's part of that step, with what has come of it; or the
            reply, if the message asks again for that to the last step.

        Raises:
            ProtocolError: If the message is out of order or malformed.
        """
        if self._closed:
            raise not_open()
        self.resting = False
        if message.step != self.next_step:
            return self._again(message, None)
        self._check_terms(message)
        step = self._step
        if not (isinstance(step, Share) and step.belongs(message)):
            begun = steps.begin_share(message, self._means)
            self._put_aside()
            self._step = step = begun
        step.take(message)
        return step

    def took(self, replies: Sequence[Message], compute_s: float) -> None:
        """Takes note of a step, or of its share of one with others.

        The body's lock must be held, and its timeline have stepped.

        Args:
            replies: To the messages of the step.
            compute_s: What it took.
        """
        self.moment = self.body.half.timeline.moment
        self._step = None
        self.next_step += 1
        self.compute_s = compute_s
        self._last_replies = [
            *replies[:-1],
            *(replace(end, moment=self.moment) for end in replies[-1:]),  # type: ignore[call-arg]
        ]
        self._replied_at = time.monotonic()
        if self._says_data:
            half = self.body.half
            half.data = half.data.or_else(self.data)

    def missed(self, step: int) -> None:
        """Counts a step that was lost, and has gone on without its share.

        Its client has taken it once and cannot go back; one that it has not
        taken yet has its number again.
        """
        with self.body.half.lock:
            if step == self.next_step and step < self.known_steps:
                self._put_aside()
                self.next_step += 1
                self._last_replies = ()

    def close(self) -> None:
        """Drops what is kept for a step that was never finished."""
        self._closed = True
        with self.body.half.lock:
            self._put_aside()
            self.optimizer.leave()

    def _handle(self, message: Message, early: Early | None) -> Message:
        if isinstance(message, StepMessage):
            return self._train(message, early)
        if isinstance(message, Infer):
            self.body.guard.smashed(message.tensors)
            features, penalty = self.body.half.infer(message.tensors)
            self.body.guard.features(features)
            return Features(-1, features, penalty)
        if isinstance(message, Snapshot):
            return SnapshotTaken(_kept(self, message))
        if isinstance(message, Restore):
            slots_of = self.optimizer if message.optimizer else None
            self.body.restore(message.tag, slots_of)
            self._put_aside()
            return Done()
        if isinstance(message, Release):
            self.body.snapshots.release(message.tag)
            return Done()
        raise ProtocolError(
            "Expected a step, a snapshot or a goodbye. Received: "
            f"{type(message).__name__}.",
            "order",
        )

    def _train(self, message: StepMessage, early: Early | None) -> Message:
        """Answers a message of a step; the last one takes it, once."""
        if message.step != self.next_step:
            return self._again(message, early)
        self._check_terms(message)
        step = self._step
        if step is None or not step.belongs(message):
            begun = steps.begin(message, self._means)
            if step is not None and step.number == begun.number:
                begun.again = step.holds
            self._put_aside()
            step = self._step = begun
        # No other step may come between the one that this ends and its moment.
        ends = not isinstance(message, Forward)
        with self.body.half.lock if ends else contextlib.nullcontext():
            reply = step.answer(message, early)
            if step.done:
                self.examples += step.examples
                self._committed(step.replies, step.compute_s)
        if step.done:
            last = self._last_replies[-1]
            if type(reply) is type(last):
                return last
            return replace(reply, moment=self.moment)  # type: ignore[call-arg]
        if self._step is not step:  # the session was closed meanwhile
            step.abandon()
        return reply

    def _check_terms(self, message: StepMessage) -> None:
        """Refuses steps with other data, or without a learning rate.

        Older clients leave out one of 0, which a schedule may come to. So a
        session that has said any may go on without.
        """
        # Others were not held against who rested, as a client without a
        # stream does until it trains; see `Body.check_data`.
        self.body.half.data.check(self.data)
        if isinstance(message, Forward):
            return
        self._rate_known |= message.rate_said is not False
        if not self._rate_known:
            raise ProtocolError(
                "Expected a learning rate. Received: a message without one, "
                "in a session that has said none yet. Set learning_rate; for "
                "a rate of 0, too, which older versions of keras_split do not.",
                "learning-rate",
            )

    def _again(self, message: StepMessage, early: Early | None) -> Message:
        """A reply to the last step that was taken, if it is asked for that."""
        last = self.next_step - 1
        asks = message.step == last and not isinstance(message, Forward)
        if asks and self._last_replies:
            return steps.again(self._last_replies, message, early)
        raise ProtocolError(
            f"Expected step {self.next_step}. Received: step {message.step}. "
            "Steps of a session are taken one after the other.",
            "order",
        )

    def _committed(self, replies: Sequence[Message], compute_s: float) -> None:
        """Takes note of a step; the body's lock must be held."""
        half = self.body.half
        half.timeline = half.timeline.stepped()
        self.took(replies, compute_s)

    def _put_aside(self) -> None:
        """Forgets the step in flight."""
        if self._step is not None:
            self._step.abandon()
            self.account.in_vain(self._step.compute_s)
        self._step = None


def _kept(session: Session, message: Snapshot) -> str:
    """The tag of a copy of the body as it is now."""
    try:
        return session.body.snapshot(
            session.optimizer, session, held=message.held
        )
    except OSError as error:
        if _WORDS.take(session.client):
            _LOG.error("a snapshot was not written: %s", error)
        raise ProtocolError(
            "Expected to keep a snapshot of the body. Received: an error of "
            "the server's disk; its log says which. Free some space there.",
            "snapshot",
        ) from error


def _check_slots(
    optimizer: "BodyOptimizer", slots: Sequence[np.ndarray[Any, Any]]
) -> None:
    """Refuses slots that are not those of an optimizer."""
    expected = [slot.shape for slot in optimizer.weights()]
    received = [slot.shape for slot in slots]
    if expected != received:
        optimizer.leave()
        raise ProtocolError(
            f"Expected {len(expected)} slots of {optimizer.name}. "
            f"Received: {len(received)}, or of other shapes. Begin a new "
            "session.",
            "optimizer",
        )
