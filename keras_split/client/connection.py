"""The way from the phone to its server, which may be lost and made again."""

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace

from keras_split.client.replay_log import ReplayLog
from keras_split.client.retry import Retry
from keras_split.client.sent_rows import SentRows
from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.cohort import MergedStep
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Release
from keras_split.protocol.messages import Welcome
from keras_split.protocol.messages import WithSmashed
from keras_split.protocol.moment import Moment
from keras_split.transports import Route
from keras_split.transports import Transport
from keras_split.transports.transport import expect

_LOG = logging.getLogger("keras_split")
_TRIES = 3  # at being where the server is


class Connection:
    """Opens a session at the server, and goes on with it after a loss.

    A `ClientSession` says what is to be said; this knows where, and what the
    server could have forgotten.

    Args:
        route: Leads to the server.
        retry: How much of what was sent is kept for a server that may die.

    Attributes:
        transport: To the server; None if there is no connection.
        session: The name of the session; empty if none is open.
        replies_early: Whether the server, and the way there, can answer with
            gradients before the server's update.
        frozen_body: Whether the server's body has no weights to train.
        cohort: Of the phones that train one model on that server, if it says
            that they do.
        enrolled: Whether it trains with that cohort now.
        half: Of which cohort the client's half was last, its hash, and how
            many averages are in it; None before it was of any.
        merged: The step of the cohort that the next forward is a share of.
        no_smashed_grad: Whether the head has none, so that steps need
            no gradients of the smashed data.
        replay_log: Steps that the server could still lose; None if it keeps
            no checkpoints.
        sent_rows: What the server keeps of what it was sent; None if it is
            not asked to.
        unneeded: Tags of snapshots that the server has yet to be told of.
        moment: Of the client's half: that of the body after the client's last
            step, over this connection or before.
        apart: What to say before predictions, where the body was met at
            another moment of the same training; empty if there is nothing.
    """

    def __init__(self, route: Route, retry: Retry) -> None:
        self.transport: Transport | None = None
        self.session = ""
        self.replies_early = False
        self.frozen_body = False
        self.no_smashed_grad = False
        self.cohort: CohortInfo | None = None
        self.enrolled = False
        self.half: tuple[str, str, int] | None = None
        self.merged: MergedStep | None = None
        self.replay_log: ReplayLog | None = None
        self.sent_rows: SentRows | None = None
        self.unneeded: deque[str] = deque()
        self.moment = Moment()
        self.apart = ""
        self._route = route
        self._retry = retry
        self._hello: Hello | None = None
        self._local: Transport | None = None
        self._counted = (0, 0)  # bytes but for those of the transport
        self._half_bytes = 0  # as transports know it

    @property
    def uplink_bytes(self) -> int:
        """Bytes sent to the server so far, over all sessions."""
        now = self.transport.uplink_bytes if self.transport else 0
        return self._counted[0] + now

    @property
    def downlink_bytes(self) -> int:
        """Bytes received from the server so far, over all sessions."""
        now = self.transport.downlink_bytes if self.transport else 0
        return self._counted[1] + now

    def open(self, hello: Hello, local: Transport | None) -> Welcome:
        """Opens a new session.

        Args:
            hello: How the server is greeted.
            local: To the server in this process, if there is one.

        Raises:
            RefusedError: If the server refused it.
            TransportError: If there is no server.
        """
        self._hello, self._local = hello, local
        self.sent_rows = SentRows(hello.contract) if hello.reuse else None
        welcome = self._greet(hello)
        self.apart = ""
        if not welcome.notice:
            self.apart = _apart(hello.moment, welcome.moment)
        return welcome

    def resume(
        self, next_step: int, repeat: Callable[[Transport, bool], None]
    ) -> Transport:
        """Connects anew and sends again what the server has lost.

        Args:
            next_step: The client's.
            repeat: Sends what belongs to that step again, over a transport;
                it is told whether the server has taken the step already.

        Raises:
            RefusedError: If the server does not know the session, or lost
                more than there is.
            TransportError: If the server is not there.
        """
        try:
            for last in (*[False] * (_TRIES - 1), True):
                transport, server_next = self._greet_again(next_step)
                try:
                    self._send_lost(transport, server_next, next_step)
                    repeat(transport, server_next > next_step)
                except RefusedError as error:
                    # What the broken connection had left behind took its step
                    # between the Welcome and what was sent again.
                    if error.reason != "order" or last:
                        raise
                    self.hang_up()
                else:
                    return transport
        except BaseException:
            self.hang_up()
            raise
        raise AssertionError

    def _greet_again(self, next_step: int) -> tuple[Transport, int]:
        """Connects anew; the way to the server, and its next step."""
        assert self._hello is not None
        hello = replace(
            self._hello,
            session=self.session,
            next_step=next_step,
            moment=self.moment,
        )
        try:
            welcome = self._greet(hello)
        except RefusedError as error:
            if error.reason != "session" or next_step:
                raise
            welcome = self._greet(self._hello)  # nothing is lost
        log = self.replay_log
        first = log.first if log is not None else None
        known = next_step if first is None else first
        if not known <= welcome.next_step <= next_step + 1:
            raise RefusedError(
                f"Expected a server that has taken the steps before {known}, "
                f"and none after {next_step}. Received: one whose next "
                f"step is {welcome.next_step}: it went back to an old "
                "checkpoint. Go on from a saved state of both halves.",
                "order",
            )
        assert self.transport is not None
        return self.transport, welcome.next_step

    @contextlib.contextmanager
    def unsaid(self) -> Iterator[None]:
        """Keeps the moment from a server that is about to bring back its half.

        It would warn of what is no longer so a moment later.
        """
        moment, self.moment = self.moment, Moment()
        try:
            yield
        finally:
            self.moment = moment

    def stepped(self, moment: Moment) -> None:
        """The server has taken a step of this client, and is there now."""
        self.moment, self.apart = moment, ""

    def tell_apart(self) -> None:
        """Says once that the two halves are of two moments.

        Who predicts should know. In training it is as it should be where
        several clients train one body, or one goes on from a file.
        """
        if self.apart:
            _LOG.warning("%s", self.apart)
            self.apart = ""

    def early(self, overlap: bool) -> bool:
        """Whether a step is answered early; gradients alone are worth it."""
        return overlap and self.replies_early and not self.no_smashed_grad

    def needed(self, features_grad: list[CutTensor]) -> list[CutTensor]:
        """The gradients of the features, if anything before them trains."""
        frozen = self.no_smashed_grad and self.frozen_body
        return [] if frozen else features_grad

    def exchange(self, transport: Transport, message: Message) -> Message:
        """Sends a message, without rows that the server keeps.

        Raises:
            RefusedError: If the server refused it.
            TransportError: If the server cannot be reached.
        """
        rows = self.sent_rows
        if rows is None or not isinstance(message, WithSmashed):
            return transport.exchange(message)
        try:
            return transport.exchange(rows.without_known(message))
        except RefusedError as error:
            if error.reason != "digest":
                raise
            return transport.exchange(rows.with_all(message))

    def send_releases(self, transport: Transport) -> None:
        """Tells of the snapshots that nobody needs any more."""
        while self.unneeded:
            transport.exchange(Release(self.session, self.unneeded[0]))
            self.unneeded.popleft()

    def hang_up(self) -> None:
        """Closes the transport; the session waits on the server."""
        transport = self.transport
        if transport is not None:
            self._counted = (self.uplink_bytes, self.downlink_bytes)
            self._half_bytes = transport.half_bytes
            self.transport = None
            transport.close()

    def forget(self) -> None:
        """Ends the session here, wherever it stands on the server."""
        self.hang_up()
        if self.replay_log is not None:
            self.replay_log.clear()
        self.replay_log = None
        self.session = ""

    def _greet(self, hello: Hello) -> Welcome:
        """Connects and says hello, wherever it is sent."""
        route = self._route
        # In this process nobody sends it on, and bytes are those of a network.
        follows = route.transport is None
        transport, welcome = self._greet_at(
            route, replace(hello, follows=follows)
        )
        if welcome.address:
            self.hang_up()
            try:
                there = route.elsewhere(welcome.address)
            except ValueError as error:
                raise ProtocolError(
                    "Expected a Welcome with host and port of another server. "
                    f"Received: {welcome.address!r} ({error})."
                ) from error
            # Who is sent on once is there: nobody goes in circles.
            transport, welcome = self._greet_at(there, hello)
        self.replies_early = welcome.replies_early and transport.replies_early
        self.frozen_body = welcome.frozen_body
        self.cohort = welcome.cohort
        if self.sent_rows is not None:
            self.sent_rows.greeted(welcome)
        if not hello.session:
            self.session = welcome.session
            if welcome.keeps_checkpoints and self._retry.give_up_s:
                self.replay_log = ReplayLog(
                    self._retry.memory_bytes, self._retry.disk_bytes
                )
        elif self.replay_log is not None:
            self.replay_log.drop_before(welcome.durable_steps)
        return welcome

    def _greet_at(
        self, route: Route, hello: Hello
    ) -> tuple[Transport, Welcome]:
        """Connects to a server, and what it says to a hello."""
        transport = route.open(hello.contract, self._local)
        transport.half_bytes = max(transport.half_bytes, self._half_bytes)
        up, down = self._counted
        # One that was used before goes on counting where it was.
        before = transport.uplink_bytes, transport.downlink_bytes
        try:
            welcome = expect(Welcome, transport.exchange(hello))
        except BaseException:
            transport.close()
            raise
        self.transport = transport
        self._counted = (up - before[0], down - before[1])
        return transport, welcome

    def _send_lost(
        self, transport: Transport, server_next: int, next_step: int
    ) -> None:
        """Brings the server to where it was before the client's next step."""
        log = self.replay_log
        if server_next < next_step:
            _LOG.warning(
                "The server lost steps %d to %d; they are sent again.",
                server_next,
                next_step - 1,
            )
        for lost in log.since(server_next) if log is not None else ():
            try:
                reply = transport.exchange(lost)
            except RefusedError as error:
                if error.reason != "late":
                    raise
                # The others have made it again meanwhile, without this phone.
                continue
            # The same steps, but of a run of their own: among those of other
            # clients they may be others now.
            self.moment = getattr(reply, "moment", None) or self.moment


def _apart(client: Moment, body: Moment) -> str:
    if not client or not body or client == body:
        return ""
    return (
        f"This half is of {client}, and the body of {body}: others have "
        "trained it since, or this half is of an older file. Predictions are "
        "those of the two as they are. For the body as it was then: "
        "keras_split.load_model(path, restore_body=True), or load_state(path) "
        "on a device."
    )
