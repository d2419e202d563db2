"""What answers the messages of clients, and the bodies that they train."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.errors import SplitError
from keras_split.protocol import validation
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.messages import NO_OPTIMIZER
from keras_split.protocol.messages import PROTOCOL
from keras_split.protocol.messages import Checkpoint
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import Welcome
from keras_split.protocol.messages import WithSmashed
from keras_split.protocol.messages import payload_bytes
from keras_split.server import inference_only
from keras_split.server import kept_rows
from keras_split.server.accounts import Accounts
from keras_split.server.bodies import KINDS
from keras_split.server.body import Body
from keras_split.server.body import check_durable
from keras_split.server.body_options import BodyOptions
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import ServerCallback
from keras_split.server.callbacks import StepCommitted
from keras_split.server.callbacks import label
from keras_split.server.cohorts import modes
from keras_split.server.cohorts import who_sees_what
from keras_split.server.cohorts.mode import Reply
from keras_split.server.config import ServerConfig
from keras_split.server.flood import Tracebacks
from keras_split.server.kept_rows import RowKeeping
from keras_split.server.meeting import notice
from keras_split.server.session import Session
from keras_split.server.session_state import SessionState
from keras_split.server.sessions import Sessions
from keras_split.server.steps import Early
from keras_split.server.steps import StepMessage

if TYPE_CHECKING:
    from keras_split.training.body_optimizer import BodyOptimizer
    from keras_split.training.server_step import ServerHalf

_SLACK_BYTES = 1 << 16
_FREE = contextlib.nullcontext()
_NOBODY = Caller()
# Who is in this process, and whose batches have no limit.
HERE = Caller()


class TrainingService:
    """Answers the messages of any number of clients.

    A session outlives its connection and, with checkpoints, the server: a
    client that comes back goes on with the next step. Clients of one body
    take turns.

    Args:
        half: The body that is served.
        optimizer: Updates the body for every client; by default each
            session gets the optimizer that its client asks for.
        config: What is allowed, and what is kept; where to listen is of no
            interest here.
        events: Hears what happens.
        **options: Fields of a `ServerConfig` instead of those of `config`.

    Attributes:
        accounts: What each client has and uses.
        cohort: The phones, if they train one model together.
        events: The same.
        max_message_bytes: The longest payload of a message.

    Raises:
        DataError: If checkpoints are damaged, of another model or of the
            other kind of bodies, or cannot be written.
        OptionError: If there is no such option.
    """

    def __init__(
        self,
        half: "ServerHalf",
        optimizer: "BodyOptimizer | None" = None,
        config: ServerConfig | None = None,
        *,
        events: ServerCallback | None = None,
        **options: Any,
    ) -> None:
        self.events = events or ServerCallback()
        self._contract = half.contract
        config = ServerConfig.get(config, **options)
        self._sessions = Sessions(
            config.max_sessions, config.idle_timeout_s, self._ended
        )
        self._opening = threading.Lock()
        self._rows = RowKeeping(config.max_reuse_bytes, half.contract)
        self._tracebacks = Tracebacks()
        self._stopping = False
        self._inference_only = config.inference_only
        self._told_of_cohort = who_sees_what.notice(config.cohort)
        max_batch = config.max_batch
        whole = max(half.contract.bytes_per_sample(max_batch))
        longest = int(whole * max_batch)
        if config.cohort is not None:  # a half may be longer than a batch
            longest = max(longest, config.cohort.max_half_bytes)
        self.max_message_bytes = min(
            longest + _SLACK_BYTES, config.max_message_bytes
        )
        self.accounts = Accounts(config.stream_limits, self.max_message_bytes)
        snapshots, checkpoints = config.snapshots, config.checkpoints
        self._bodies = KINDS[config.kind_of_bodies](
            half,
            optimizer,
            BodyOptions(
                config.gradient_limits,
                config.checkpoint_every,
                config.checkpoint_every_bytes,
                self.events,
                together=config.cohort is not None
                and config.cohort.mode == "merged",
            ),
            snapshots=None if snapshots is None else Path(snapshots),
            checkpoints=None if checkpoints is None else Path(checkpoints),
        )
        self.cohort = modes.make(config.cohort, self._bodies, self.events)
        for session in self._bodies.load():
            self._sessions.add(session, streams=0)
        names = [session.name for session in self._sessions]
        modes.go_on(self.cohort, self._bodies.found_cohort, names)
        for body in self._bodies:
            body.snapshots.let_go_but(names)

    def handle(
        self,
        message: Message,
        caller: Caller = _NOBODY,
        early: Early | None = None,
    ) -> Reply:
        """Answers a message; what is wrong with it becomes a `Refusal`.

        The reply may be a `Future`, where other phones of a cohort are
        awaited; it does not raise.

        Args:
            message: What came.
            caller: From whom.
            early: Sends a reply that goes before the one that is returned,
                without waiting; None where there is one reply to a message.
        """
        try:
            return self._answer(message, caller, early)
        except ProtocolError as error:
            refusal = Refusal(error.reason, str(error))
        except SplitError as error:
            refusal = Refusal("refused", str(error))
        except Exception as error:
            self._tracebacks.log(
                caller.account, "a message could not be answered"
            )
            refusal = Refusal(
                "internal",
                f"Expected to answer a {type(message).__name__}. Received: "
                f"{type(error).__name__} on the server; its log has the "
                "traceback. Nothing was changed.",
            )
        name = getattr(message, "session", "")
        self.events.refused(label(name) if name else "", caller, refusal.reason)
        return refusal

    @property
    def session_names(self) -> tuple[str, ...]:
        """Of all that are open; who knows one can go on with it."""
        return tuple(session.name for session in self._sessions)

    @property
    def shared_body(self) -> Body:
        """The one that all sessions train."""
        (body,) = self._bodies
        return body

    def find(self, session: str) -> Session | None:
        """An open session by its name."""
        try:
            return self._sessions.find(session, _NOBODY)
        except ProtocolError:
            return None

    @contextlib.contextmanager
    def joint_step(self, session: str) -> Iterator[None]:
        """Surrounds a step that runs in the graph of its client.

        Args:
            session: Name of the session.

        Raises:
            RefusedError: As a message of that session would be refused.
        """
        try:
            found = self._sessions.find(session, _NOBODY)
            self._check_open()
            if self._inference_only:
                raise inference_only.refusal("a step")
        except ProtocolError as error:
            self.events.refused(label(session), _NOBODY, error.reason)
            raise RefusedError(str(error), error.reason) from error
        with found.body.turns.take(found.name) as queue_s:
            before = found.next_step
            try:
                with found.joint_step():
                    yield
            except RefusedError as error:
                self.events.refused(label(session), _NOBODY, error.reason)
                raise
            finally:
                if found.next_step > before:
                    self._stepped(found, queue_s)

    def hear(self, session: str) -> None:
        """A part of a message came on a stream of a session: it is there."""
        self._sessions.hear(session)

    def leave(self, session: str) -> None:
        """A stream of a session ended; the session waits for its client."""
        left = self._sessions.leave(session)
        if left is not None:
            left.rest()
            if self.cohort is not None:
                self.cohort.left(session)
            self.events.left(label(session))

    def close(self, session: str, reason: str = "goodbye") -> None:
        """Forgets a session, finished or not."""
        found = self._sessions.pop(session)
        if found is not None:
            self._ended(found, reason)

    def drain(self, grace_s: float) -> None:
        """Lets steps in flight finish, and no other step begin.

        Args:
            grace_s: How long to wait for them, in seconds.
        """
        self._stopping = True
        self.events.stopping()
        end = time.monotonic() + grace_s
        while time.monotonic() < end and any(
            session.in_flight for session in self._sessions
        ):
            time.sleep(0.02)

    def close_all(self) -> None:
        """Writes a last checkpoint and forgets every session."""
        self._stopping = True
        if self.cohort is not None:
            self.cohort.close()
        for body in self._bodies:
            with body.turns.take(""):
                body.write_last()
                for session in self._sessions:
                    if session.body is body:
                        self.close(session.name, "stopped")

    def _ended(self, session: Session, reason: str) -> None:
        if self.cohort is not None:
            self.cohort.left(session.name, ended=reason != "stopped")
        session.close()
        self._rows.end(session)
        forget = reason != "stopped"
        if forget:
            session.body.snapshots.let_go(session.name)
        self._bodies.end(session, forget=forget)
        self.events.closed(label(session.name), reason)

    def _answer(
        self, message: Message, caller: Caller, early: Early | None
    ) -> Reply:
        if isinstance(message, Hello):
            return self._welcome(message, caller)
        session = self._sessions.find(getattr(message, "session", ""), caller)
        return self._sessions.answered(
            session.name, lambda: self._reply(message, session, caller, early)
        )

    def _reply(
        self,
        message: Message,
        session: Session,
        caller: Caller,
        early: Early | None,
    ) -> Reply:
        body = session.body
        if self._inference_only:
            inference_only.check(message)
        reuses = isinstance(message, WithSmashed) and message.rows is not None
        if reuses:
            kept_rows.check(message, session)
        if caller is not HERE and isinstance(message, WithSmashed):
            if message.rows is not None:
                body.guard.batch(message.rows.batch)
            for tensor in message.tensors[:1]:
                body.guard.batch(*tensor.shape[:1])
        if self.cohort is not None:
            if self._stopping and isinstance(message, AskShare | BeginRound):
                self._check_open()
            answer = self.cohort.answer(message, session)
            if answer is not None:
                return answer
        with body.turns.take(caller.client or session.name) as queue_s:
            if reuses:
                message = kept_rows.whole(message, session)
            if self._stopping and session.begins(message):
                self._check_open()
            if isinstance(message, Goodbye | Checkpoint):
                if isinstance(message, Checkpoint):
                    check_durable(body.keeps_checkpoints)
                with session.account.charged():
                    body.make_durable()
                if isinstance(message, Goodbye):
                    self.close(session.name)
                return Done()
            if body.keeps_checkpoints and isinstance(message, StepMessage):
                body.received(session, payload_bytes(message))
            before = session.next_step
            costs = isinstance(message, Snapshot | Restore)
            with session.account.charged() if costs else _FREE:
                reply = session.handle(message, early)
                if isinstance(message, Restore):
                    self.events.restored(label(session.name), message.tag)
                    body.write_restored()
            if session.next_step > before:
                self._stepped(session, queue_s)
            if body.keeps_checkpoints:
                reply = body.with_durable(reply, session)
            return reply

    def _stepped(self, session: Session, queue_s: float) -> None:
        self.events.committed(StepCommitted.last_of(session, queue_s))
        if not session.body.keeps_checkpoints:
            return
        # The first step of a session has a checkpoint of its own.
        first = session.next_step == 1
        with session.account.charged() if first else _FREE:
            session.body.stepped(session)

    def _check_open(self) -> None:
        if self._stopping:
            raise ProtocolError(
                "Expected a server that goes on. Received: one that is about "
                "to stop. Wait until it is back.",
                "stopping",
            )

    def _welcome(self, hello: Hello, caller: Caller) -> Message:
        self._check_open()
        if hello.protocol != PROTOCOL:
            raise ProtocolError(
                f"Expected protocol version {PROTOCOL}. Received: "
                f"{hello.protocol}. Install the same keras_split on the "
                "phone and on the server.",
                "protocol",
            )
        validation.check_contract(hello.contract, self._contract)
        if hello.session:
            # While it was away others may have begun to train.
            found = self._sessions.find(hello.session, caller)
            found.body.half.data.check(found.data)
            session = self._sessions.join(hello.session, caller)
            session.account = self.accounts.of(caller)
            session.known_steps = hello.next_step
            self._keep_rows(session, hello)
            if self.cohort is not None:
                self.cohort.came(session.name)
            self.events.resumed(label(session.name), caller, session.next_step)
            return self._welcomed(session)
        # Where labels stay on the phone nobody needs its loss here.
        loss = hello.loss if self._contract.labels_on_server else ""
        optimizer = hello.optimizer
        if self._inference_only:  # what they say of a training is not read
            optimizer, loss = NO_OPTIMIZER, ""
        with self._opening:  # or two would take the last place
            self._sessions.check_room(caller.account)
            session = self._bodies.open(
                SessionState(
                    self._sessions.name(),
                    caller.client,
                    optimizer,
                    loss,
                    data=hello.data,
                )
            )
            session.account = self.accounts.of(caller)
            self._keep_rows(session, hello)
            self._sessions.add(session, account=caller.account)
        self.events.opened(label(session.name), caller)
        timeline = session.body.half.timeline
        return self._welcomed(session, notice(hello.moment, timeline))

    def _welcomed(self, session: Session, told: str = "") -> Welcome:
        notices = [inference_only.NOTICE] if self._inference_only else []
        if self._told_of_cohort:
            notices.append(self._told_of_cohort)
        if told:
            notices.append(told)
        if self._contract.labels_on_server:
            notices.append(
                "This model is cut once: labels travel to the server."
            )
        return Welcome(
            session.name,
            session.next_step,
            self.max_message_bytes,
            " ".join(notices),
            session.body.durable_steps(session),
            session.body.keeps_checkpoints,
            replies_early=self.cohort is None,
            moment=session.body.half.timeline.moment,
            frozen_body=session.body.half.frozen,
            cohort=None if self.cohort is None else self.cohort.info,
            reuse_bytes=0 if session.rows is None else session.rows.limit_bytes,
            reuse_rows=0 if session.rows is None else len(session.rows),
        )

    def _keep_rows(self, session: Session, hello: Hello) -> None:
        # Shares of a merged step wait for those of others, in memory.
        merged = self.cohort is not None and self.cohort.info.mode == "merged"
        if hello.reuse and not merged:
            self._rows.give(session)
