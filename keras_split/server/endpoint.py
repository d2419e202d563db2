"""Where calls come in, whatever carries them: bytes in, bytes out."""

import contextlib
from collections.abc import AsyncIterable
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import Any

from keras_split.compression.codecs import Codec
from keras_split.errors import RefusedError
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.wire import status as wire_status
from keras_split.server.accounts import Accounts
from keras_split.server.admission import Admission
from keras_split.server.answerer import Answerer
from keras_split.server.call import Call
from keras_split.server.callbacks import Caller
from keras_split.server.config import ServerConfig
from keras_split.server.endpoint_stream import EndpointStream
from keras_split.server.flood import Tracebacks
from keras_split.server.limits import Places
from keras_split.server.limits import Share
from keras_split.server.message_service import MessageService
from keras_split.server.outgoing import Send
from keras_split.server.oversight import Oversight
from keras_split.server.watchdog import Watchdog


class Endpoint:
    """Answers calls: who may call, how often, how long, how much at a time.

    Nothing of how calls travel is known here. An *adapter* brings them: it
    listens, tells who calls (`caller`), hands over bytes (`answer`, `call` or
    `stream`) and sends back what it gets. It says with `end` how a call is
    broken off whose client takes too long, and turns a `RefusedError` into
    its own words for a call that has no reply: by its `reason`,
    `"unauthenticated"`, `"permission"`, `"busy"`, `"size"` or
    `"unimplemented"`. All else that can be wrong is in the reply. Several
    adapters may stand before one endpoint; limits then hold for all of them
    together.

    Args:
        service: Answers the messages.
        codec: Packs the codes, as the contract says.
        config: What callers may do, and whose tokens let them in.
        status: Says what the server is doing, for `keras-split status`.
        closed: Called when it is closed, after all else.
        **options: Fields of a `ServerConfig` instead of those of `config`.

    Attributes:
        service: The same.
        config: The same.
        admission: Knows who may call.
        limits: What of it is about calls.
        watchdog: Ends calls whose clients take too long.
        tracebacks: Logs what should not be raised, of each caller a few.

    Raises:
        DataError: If the file of tokens is of no use.
        OptionError: If there is no such option, or a value cannot be.
    """

    def __init__(
        self,
        service: MessageService,
        codec: Codec,
        config: ServerConfig | None = None,
        *,
        status: Callable[[], ServerStatus] | None = None,
        closed: Callable[[], object] = lambda: None,
        **options: Any,
    ) -> None:
        self.service = service
        self.config = ServerConfig.get(config, **options)
        self.limits = self.config.stream_limits
        self.watchdog = Watchdog(self.limits.watch_period_s)
        self.admission = Admission(
            self.config.security, self.config.checkpoints
        )
        self._oversight = Oversight(
            self.config.security,
            lambda token: self.admission.who(token) is not None,
            lambda caller: service.events.refused("", caller, "permission"),
        )
        self._status = status
        self._closed = closed
        self._beside: list[Callable[[], object]] = []
        self.tracebacks = Tracebacks()
        self._answerer = Answerer(service, codec, self.limits, self.tracebacks)
        # Of service and endpoint one: what a client has, wherever it asks.
        service.accounts = Accounts(self.limits, service.max_message_bytes)
        self._places = Places(self.limits.max_streams)

    @property
    def longest_bytes(self) -> int:
        """Bytes that a message or a frame may have, its description too."""
        return self._answerer.longest_bytes

    # -- who calls ------------------------------------------------------------

    def knows(self, token: str | None) -> bool:
        """Whether a token lets anybody in; any does if nobody is asked."""
        admission = self.admission
        if not admission.asks or self._oversight.is_operator(token):
            return True
        return admission.who(token) is not None

    def caller(
        self, peer: str, token: str | None = None, certificate: str = ""
    ) -> Caller:
        """Who calls: by token, else by certificate, else nobody knows.

        The operator, whom a token of its own shows, may see the `status` and
        do nothing else.

        Args:
            peer: Where from, as `"ipv4:10.0.0.2:40312"` or
                `"ipv6:[::1]:40312"`.
            token: What was shown, if anything; see
                `keras_split.server.bearer`.
            certificate: Name in the certificate with which TLS knows the
                client; only one that was verified.

        Raises:
            RefusedError: With reason `"unauthenticated"`, if tokens are asked
                for and this is none.
        """
        if self._oversight.is_operator(token):
            return Caller("", peer, operator=True)
        if not self.admission.asks:
            return Caller(certificate, peer)
        known = self.admission.who(token)
        if known is None:
            self.service.events.refused("", Caller("", peer), "unauthenticated")
            raise RefusedError(
                "Expected a token that this server knows. Received: another, "
                "or none.",
                "unauthenticated",
            )
        name, key = known
        return Caller(name, peer, key)

    def reload(self) -> None:
        """Reads the tokens again, whether or not their file has changed.

        Calls of clients whose token was taken back, or is another one now,
        are broken off soon. A file that is of no use changes nothing; the
        log says so. A file that changes is noticed without this.
        """
        self.admission.reload()
        self._oversight.reload()

    def _lets_in(self, caller: Caller) -> bool:
        """Whether a caller may go on."""
        admission = self.admission
        if not admission.asks or admission.holds(caller.client, caller.key):
            return True
        self.service.events.refused("", caller, "unauthenticated")
        return False

    # -- calls ----------------------------------------------------------------

    def answer(self, raw: bytes, caller: Caller) -> bytes:
        """Answers one message, which has arrived.

        Args:
            raw: An envelope of `split.proto` with its payload, as bytes.
            caller: Who sent it; see `caller`.

        Returns:
            The envelope of the reply, as bytes; a `Refusal` in it says what
            is wrong with the message.

        Raises:
            RefusedError: If the call is to end without a reply, and why.
        """
        with self.call(caller) as call:
            return call.answer(raw)

    @contextlib.contextmanager
    def call(
        self, caller: Caller, end: Callable[[], object] = lambda: None
    ) -> Iterator[Call]:
        """Surrounds a call of one message, which may still be on its way.

        Args:
            caller: Who calls.
            end: Breaks it off, from another thread: what waits for the
                message or for the reply to leave returns or raises then.

        Raises:
            RefusedError: With reason `"busy"`, if there are too many calls,
                or `"permission"`, if the operator calls.
        """
        self._oversight.check_client(caller)
        account = self.service.accounts.of(caller)
        allowed = partial(self._lets_in, caller)
        with (
            self._places.take(),
            self.watchdog.watch(end, allowed) as watch,
            Share(account.inflight) as share,
        ):
            watch.allow(self.limits.message_timeout_s)
            yield Call(
                self._answerer,
                caller,
                self.limits,
                watch,
                share,
                account.messages.take,
            )

    @contextlib.contextmanager
    def timed(
        self, end: Callable[[], object], nbytes: int = 0
    ) -> Iterator[None]:
        """Surrounds what an adapter does beside calls, which takes no place.

        Args:
            end: Breaks it off, from another thread, when it has taken as
                long as a message may.
            nbytes: What travels.
        """
        with self.watchdog.watch(end) as watch:
            watch.allow(self.limits.message_timeout_s, nbytes)
            yield

    async def stream(
        self,
        requests: AsyncIterable[bytes],
        send: Send,
        caller: Caller,
        end: Callable[[], object],
    ) -> None:
        """Answers a call of any number of messages.

        It holds a thread only while it computes a reply. Cancelled, for the
        client went away, it lets go of everything and is so.

        Args:
            requests: Frames of `split.proto` as they arrive. A
                `ConnectionError` of theirs, or of `send`, means that the
                client went away.
            send: Sends a frame of the replies; they come in order.
            caller: Who calls.
            end: Breaks it off, from another thread: cancels it, say.

        Raises:
            RefusedError: If the call is to end without a reply, and why.
        """
        self._oversight.check_client(caller)
        allowed = partial(self._lets_in, caller)
        account = self.service.accounts.of(caller)
        with (
            self.watchdog.watch(end, allowed),
            Share(account.inflight) as share,
        ):
            await EndpointStream(
                self._answerer,
                caller,
                end,
                self.limits,
                self._places,
                self.watchdog,
                share,
            ).serve(requests, send)

    def check_client(self, caller: Caller) -> None:
        """Whether a caller may train, as far as its token says.

        Raises:
            RefusedError: With reason `"permission"`, if it is the operator.
        """
        self._oversight.check_client(caller)

    def check_operator(self, caller: Caller) -> None:
        """Whether a caller may see what the server is doing.

        All who are let in may, unless the operator has a token.

        Raises:
            RefusedError: With reason `"permission"`, if not.
        """
        self._oversight.check_operator(caller)

    @property
    def told_status(self) -> ServerStatus | None:
        """What it would tell the operator; None if nobody keeps it."""
        return None if self._status is None else self._status()

    def status(self, caller: Caller) -> bytes:
        """What the server is doing: a `StatusReply` of `split.proto`.

        Args:
            caller: Who asks; see `caller`.

        Raises:
            RefusedError: With reason `"permission"`, if the caller may not
                see it, or `"unimplemented"`, if nobody keeps it.
        """
        self.check_operator(caller)
        if self._status is None:
            raise RefusedError(
                "Expected a server that tells its status. Received: a call "
                "to one that does not.",
                "unimplemented",
            )
        return wire_status.to_wire(self._status()).SerializeToString()

    # -- from start to stop ---------------------------------------------------

    def start(self) -> "Endpoint":
        """Begins to look after calls; a second time does nothing."""
        self.watchdog.start()
        return self

    def drain(self, grace_s: float) -> None:
        """Lets steps in flight finish, and no other step begin.

        Args:
            grace_s: How long to wait for them, in seconds.
        """
        self.service.drain(grace_s)

    def beside(self, stop: Callable[[], object]) -> None:
        """Has an adapter stopped before anything is closed.

        Args:
            stop: Stops it; one beside the adapter that closes the endpoint.
        """
        self._beside.append(stop)

    def close(self) -> None:
        """Writes a last checkpoint and ends every session."""
        for stop in self._beside:
            stop()
        self.watchdog.stop()
        self.service.close_all()
        self._closed()

    def __enter__(self) -> "Endpoint":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
