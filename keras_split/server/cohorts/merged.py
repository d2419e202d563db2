"""Phones whose smashed data make one batch of the body."""

import contextlib
import secrets
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from keras_split.aggregation import shares
from keras_split.errors import OptionError
from keras_split.errors import ProtocolError
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Later
from keras_split.protocol.cohort_messages import PutHalf
from keras_split.protocol.cohort_messages import Share
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import payload_bytes
from keras_split.server import steps
from keras_split.server.callbacks import ServerCallback
from keras_split.server.cohorts import lost_steps
from keras_split.server.cohorts import merged_words
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.drawn import Drawn
from keras_split.server.cohorts.drawn import Tickets
from keras_split.server.cohorts.epochs import Epochs
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.lost_steps import LostSteps
from keras_split.server.cohorts.members import Member
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.merging import Given
from keras_split.server.cohorts.merging import Merging
from keras_split.server.cohorts.merging import Terms
from keras_split.server.cohorts.mode import Mode
from keras_split.server.cohorts.mode import Reply
from keras_split.server.cohorts.patience import Patience
from keras_split.server.cohorts.patience import tell_silent
from keras_split.server.cohorts.rounds import Rounds
from keras_split.server.cohorts.step_averages import StepAverages
from keras_split.server.cohorts.told import Told
from keras_split.server.cohorts.waiting import WaitingRoom
from keras_split.utils import workers

if TYPE_CHECKING:
    from keras_split.server.bodies import Bodies
    from keras_split.server.body import Body
    from keras_split.server.session import Session

_Deed = Callable[[], object]


class Merged(Mode):
    """Phones whose smashed data make one batch of the body.

    When all that are waited for have asked, or time is over, the shares of a
    step are drawn of what they have left in this epoch, so that it is a step
    of the pooled data. Who misses a deadline is waited for when it asks again.

    The epoch of the cohort ends for all at once, when nobody that is there
    has anything left. A phone that joins later counts its epochs from then.

    Args:
        config: How they train.
        members: Who they are.
        half: What they have in common.
        bodies: With the one that they train.
        events: Hears of steps.

    Raises:
        OptionError: If the steps of such a model cannot be merged.
    """

    def __init__(
        self,
        config: CohortConfig,
        members: Members,
        half: CohortHalf,
        bodies: "Bodies",
        events: ServerCallback,
    ) -> None:
        if len(found := [*bodies]) != 1:
            raise OptionError(
                "Expected one body for the phones of a merged cohort. "
                "Received: a body for each. Serve with --bodies shared."
            )
        self._body: Body = found[0]
        merged_words.mergeable(self._body.half.contract)
        self._config = config
        self._members = members
        self._half = half
        self._terms = Terms(
            self._body,
            events,
            config.step_deadline_s,
            config.clip_gradients,
            self._taken,
            self._late,
            self._over,
        )
        self._lock = threading.RLock()
        self._seed = (
            secrets.randbits(62) if config.seed is None else config.seed
        )
        self._tickets = Tickets()
        self._next = 0  # the next step, or the one that is being taken
        self._epochs = Epochs()
        self._awaited: set[int] = set()
        self._asked: dict[int, AskShare] = {}
        self._room = WaitingRoom()
        self._told = Told(half)
        self._drawn: Drawn | None = None  # the last
        self._merging: Merging | None = None
        self._patience = Patience(config, lambda: self._go_on(anyway=True))
        self._lost = LostSteps()
        self._rounds = Rounds(config, members, half, bodies, events)
        self._averages = StepAverages(config, members, self._told.averaged)

    # -- what phones say -----------------------------------------------------

    def answer(
        self, message: Message, member: Member, session: "Session"
    ) -> Reply | None:
        """The reply to a message of a member."""
        if isinstance(message, AskShare):
            return self._ask(message, member)
        if isinstance(message, Forward):
            return self._forward(message, member.number, session)
        if isinstance(message, Backward):
            return self._backward(message, member.number, session)
        if isinstance(message, LabeledStep):
            raise ProtocolError(
                "Expected smashed data without labels, for this server merges "
                "the steps of its phones. Received: a LabeledStep. Cut the "
                "model twice.",
                "cohort",
            )
        if isinstance(message, PutHalf):
            return self._put_half(message, member.number)
        said = member.enrolled
        if isinstance(message, Contribution) and said.terms.what == "gradients":
            return self._averages.give(message, member.number)
        return self._rounds.answer(message, member)

    def came(self, member: Member) -> None:
        """Others wait for a member from now on."""
        self._rounds.came(member)
        with self._lock:
            self._awaited.add(member.number)
        self._go_on()

    def left(self, member: Member) -> None:
        """A member's client is gone; it asks again when it is back."""
        self._rounds.left(member)
        with self._lock:
            self._asked.pop(member.number, None)
        self._room.tell(member.number, Later())

    def lost(self, member: Member) -> None:
        """Others do not wait for a member any more."""
        self._rounds.lost(member)
        number = member.number
        with self._lock:
            self._awaited.discard(number)
            self._epochs.between.discard(number)
            merging = self._merging
        # Not here: whoever says goodbye has the turn of the body.
        if merging is not None:
            workers.start(lambda: merging.lose(number))
        workers.start(self._go_on)
        self._averages.lost(member)

    def _ask(self, message: AskShare, member: Member) -> Reply:
        merged_words.asked(message)
        number = member.number
        with self._lock:
            most = self._told.most
            if message.version > most and not self._lost.may_come:
                raise ProtocolError(
                    f"Expected a half of version {most} at most. Received: "
                    f"{message.version}. Enroll again.",
                    "cohort",
                )
            self._awaited.add(number)
            if member.anew and not self._lost.may_come:
                member.anew = False
                self._epochs.begin(number)
            if self._epochs.is_over(number, message):
                return merged_words.epoch_over(message)
            merging = self._merging
            share = self._told.again(number, message, merging)
            if share is None and merging is not None:
                share = self._told.with_half(number, message)
            if share is not None:
                return share
            if merging is not None and number in merging.members:
                # Who asks for the next has given up this one.
                workers.start(lambda: merging.lose(number))
            given_up = self._told.gives_up(number, message)
            self._asked[number] = message
            future = self._room.wait(number)
        if given_up >= 0:
            self._averages.give_up(given_up, number)
        if self._lost.may_come:
            self._averages.has_it(message.version)
        self._go_on()
        return future

    def _forward(
        self, message: Forward, number: int, session: "Session"
    ) -> Reply:
        with self._lost_if_refused(number):
            share = session.share(message)
        if not isinstance(share, steps.Share):
            return share
        step = share.merged.step
        given = Given(session, share)
        if self._body.keeps_checkpoints:
            self._body.received(session, payload_bytes(message))
        with self._lock:
            self._awaited.add(number)
            merging = self._merging
            if merging is None or merging.number != step:
                if step < self._next or not self._lost.may_come:
                    raise merged_words.late(step, self._next)
                drawn = self._tickets.read(share.merged, number)
                future = self._lost.hold(number, drawn, given)
                merging = None
            else:
                told = self._told.shares.get(number)
                with self._lost_if_refused(number):
                    merged_words.check_told(share.merged, told)
                self._told.heard(number)
        if merging is None:
            self._go_on()
            return future
        return merging.forward(number, given)

    def _backward(
        self, message: Backward, number: int, session: "Session"
    ) -> Reply:
        with self._lost_if_refused(number):
            share = session.share(message)
        if not isinstance(share, steps.Share):
            return self._body.with_durable(share, session)
        if self._body.keeps_checkpoints:
            self._body.received(session, payload_bytes(message))
        with lost_steps.counted(session, message.step):
            with self._lock:
                self._awaited.add(number)
                merging, step = self._merging, share.merged.step
                if merging is None or merging.number != step:
                    raise merged_words.late(step, self._next)
            return merging.backward(number, Given(session, share))

    @contextlib.contextmanager
    def _lost_if_refused(self, number: int) -> Iterator[None]:
        """Nobody waits for a phone whose part is refused."""
        merging = self._merging
        try:
            yield
        except ProtocolError as error:
            # What is out of order is of another step of the phone.
            if merging is not None and error.reason != "order":
                with self._lock:
                    if merging is self._merging:
                        self._told.refuse(number)
                workers.start(lambda: merging.lose(number))
            raise

    # -- from step to step ---------------------------------------------------

    def _go_on(self, *, anyway: bool = False) -> None:
        """Begins a step if it can.

        Args:
            anyway: Whether nobody waits any longer for those who are silent.
        """
        with self._lock:
            if self._merging is not None:
                return
            here = {n for n in self._asked if n in self._room}
            here |= self._lost.members
            begun = self._next or self._epochs.now or self._lost.members
            if not begun:  # at first all are waited for that are expected
                present = {member.number for member in self._members.present}
                if len(present) < self._config.phones:
                    return
                self._awaited |= present  # one of them may be about to enroll
            if not here:
                return
            # Who sends a lost step again may do so while others are silent,
            # and who has ended its round asks when the others have, too.
            ready = self._lost.first == self._next
            awaited = self._awaited - here - self._rounds.gave
            awaited &= self._rounds.running or awaited
            if not ready and awaited:
                if not anyway:
                    self._patience.wait(
                        long=bool(awaited & self._epochs.between)
                    )
                    return
                tell_silent(f"step {self._next}", awaited)
                self._awaited &= here
            self._patience.stop()
            deeds = self._lose() if self._lost.members else self._draw(here)
        for deed in deeds:
            deed()

    def _lose(self) -> list[_Deed]:
        """Makes a step again that the server had lost; the lock is held."""
        drawn, held = self._lost.take()
        self._next = drawn.step
        self._epochs.now = max(self._epochs.now, drawn.epoch)
        self._told.begin_again(drawn, self._tickets.of(drawn))
        made = self._begin(drawn, again=True)
        told: dict[int, Share] = {}
        for number, asks in [*self._asked.items()]:
            share = self._told.again(number, asks, made)
            share = share or self._told.with_half(number, asks)
            if share is not None:
                told[number] = share
                del self._asked[number]
        # Those are not waited for in each of several steps.
        gone = {*drawn.members} - self._awaited
        gone |= {*drawn.members} & (self._asked.keys() | self._lost.members)
        return [
            *(partial(again.hand_to, made) for again in held),
            *(partial(self._room.tell, *each) for each in told.items()),
            *(partial(made.lose, number) for number in sorted(gone)),
        ]

    def _draw(self, here: set[int]) -> list[_Deed]:
        """Draws shares of a step, and tells them; the lock is held."""
        asked = {number: self._asked.pop(number) for number in sorted(here)}
        if self._lost.may_come:
            over = self._epochs.catch_up(asked)
            if over:
                kept = asked.keys() - over.keys()
                self._asked |= {number: asked[number] for number in kept}
                return [partial(self._room.tell, *e) for e in over.items()]
        replies: Mapping[int, Share]
        if not any(message.left for message in asked.values()):
            self._epochs.end(asked)
            replies = self._told.epoch_ends(asked)
        else:
            most = self._told.most
            if self._lost.may_come:  # an average that the server has lost
                most = max(most, self._next)
            version = self._told.version(asked, most)
            giver = self._told.giver(asked, version)
            if giver is not None:
                del asked[giver]
                self._asked |= asked
                self._patience.wait(long=False)
                told = merged_words.give_first(version)
                return [partial(self._room.tell, giver, told)]
            for number in self._told.stranded(version):
                self._asked[number] = asked.pop(number)
            counts = shares.draw(
                [message.left for message in asked.values()],
                self._config.batch,
                np.random.default_rng([self._seed, self._next]),
                [self._members[n].enrolled.capacity for n in asked],
                self._config.phones_per_step,
            ).tolist()
            pairs = tuple(zip(asked, counts, strict=True))
            drawn = Drawn(self._next, self._epochs.now, version, pairs)
            replies = self._told.begin(drawn, self._tickets.of(drawn))
            self._begin(drawn)
        self._lost.may_come = False
        return [partial(self._room.tell, *each) for each in replies.items()]

    def _begin(self, drawn: Drawn, *, again: bool = False) -> Merging:
        """A step begins; the lock is held."""
        self._epochs.between.clear()
        self._drawn = drawn
        versions = [asks.version for asks in self._asked.values()]
        self._averages.begin(drawn, versions, again=again)
        self._merging = Merging(drawn.step, drawn.members, self._terms)
        return self._merging

    def _put_half(self, message: PutHalf, number: int) -> Message | None:
        """Takes the half that the others need."""
        size = self._members[number].enrolled.size
        with self._lock:
            return Done() if self._told.put(message, number, size) else None

    def _taken(self, merging: Merging) -> None:
        """The body has taken a step, and its lock is held."""
        with self._lock:
            self._next = merging.number + 1
        self._averages.taken(merging.number, self._body.half.timeline.moment)

    def _late(self, merging: Merging, late: set[int]) -> None:
        """Nobody waits for some phones until they say something again."""
        with self._lock:
            self._awaited -= late - self._asked.keys()
        self._averages.lose(merging.number, late)

    def _over(self, merging: Merging) -> None:
        """A step was taken, or came to nothing."""
        with self._lock:
            if self._merging is not merging:
                return
            self._merging = None
            self._next = merging.number + 1
        self._go_on()

    # -- what outlives the server --------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values, from which another server goes on."""
        with self._lock:
            return {
                "step": self._next,
                "seed": self._seed,
                **self._epochs.state(),
                "rounds": self._rounds.state(),
                "tickets": self._tickets.state(),
                "newest": self._told.newest,
                "drawn": self._drawn and self._drawn.values,
            }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave; steps since then come again."""
        with self._lock:
            self._next = state["step"]
            self._seed = state["seed"]
            self._epochs.load(state)
            self._awaited = {m.number for m in self._members.awaited}
            self._lost.may_come = True
            if "tickets" in state:  # not so in those of older servers
                self._tickets.load(state["tickets"])
                self._told.newest = state["newest"]
        if (last := state.get("drawn")) and last[0] == self._next - 1:
            # Some have not heard of it, or are about to average.
            self._told.begin_again(Drawn.of(last), b"")
            self._averages.begin(Drawn.of(last), again=True)
            self._averages.taken(last[0], self._body.half.timeline.moment)
        self._rounds.load(state["rounds"])
