"""What each path of the port for browsers does."""

import asyncio
import contextlib
from collections.abc import Awaitable
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from keras_split.errors import RefusedError
from keras_split.server.callbacks import Caller
from keras_split.server.ending import Ending
from keras_split.server.endpoint import Endpoint
from keras_split.server.front import Front
from keras_split.server.web import calls
from keras_split.server.web.calls import Calls
from keras_split.server.web.files import ClientFiles
from keras_split.server.web.files import Files
from keras_split.server.web.invitations import Invitations
from keras_split.server.web.refusals import HttpError
from keras_split.server.web.reply import Reply
from keras_split.server.web.request import Request
from keras_split.transports.address import peer_host

_Handler = Callable[[Request, Reply, Ending], Awaitable[None]]
_JSON = "application/json"
_OF_PHONES = ("/join", "/invite", "/revoke", *ClientFiles.PATHS)


class App:
    """An ASGI application before an endpoint.

    Before a front, which sends its clients to other servers, it has the
    dashboard alone: those have no port for browsers.

    Args:
        endpoint: Answers the messages.
        files: What `GET` finds.
        invitations: Codes with which phones join.
        url: Where a phone joins with a code.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        files: Files,
        invitations: Invitations,
        url: Callable[[str], str],
    ) -> None:
        self._endpoint = endpoint
        self._files = files
        self._invitations = invitations
        self._url = url
        self._calls = Calls(endpoint)
        self._sends_on = isinstance(endpoint.service, Front)
        self._open_to_all = not endpoint.admission.asks and not (
            self._sends_on and endpoint.config.security.operator_token
        )
        self._posts: dict[str, _Handler] = {
            calls.EXCHANGE: self._exchange,
            calls.STATUS: self._status,
            "/join": self._join,
            "/invite": self._invite,
            "/revoke": self._revoke,
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request; nothing is raised."""
        ending = Ending()
        request, reply = Request(scope, receive), Reply(send, ending)
        try:
            await self._answer(request, reply, ending)
        except asyncio.CancelledError:
            if not ending.ended:
                raise
            late = HttpError(408, "Expected a message in time. Received: none.")
            await reply.last(late.status, late.body, _JSON)
            _hang_up(request)
        except ConnectionError:
            _hang_up(request)
        finally:
            ending.over()

    async def _answer(
        self, request: Request, reply: Reply, ending: Ending
    ) -> None:
        try:
            await self._route(request, reply, ending)
        except HttpError as error:
            refused = error
        except RefusedError as error:
            refused = HttpError.of(error)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            self._endpoint.tracebacks.log(
                peer_host(request.peer), "a request failed"
            )
            refused = HttpError(
                500,
                f"Expected to answer a request. Received: "
                f"{type(error).__name__} on the server; its log has the "
                "traceback.",
                "internal",
            )
        else:
            return
        if reply.started:
            _hang_up(request)
            return
        with self._in_time(ending):
            await reply.whole(
                refused.status, refused.body, _JSON, refused.headers
            )

    async def _route(
        self, request: Request, reply: Reply, ending: Ending
    ) -> None:
        request.check_origin(open_to_all=self._open_to_all)
        if self._sends_on and request.path in _OF_PHONES:
            raise _elsewhere()
        post = self._posts.get(request.path)
        if post is not None:
            request.check_method("POST")
            await post(request, reply, ending)
            return
        found = self._files.find(request.path)
        request.check_method("GET", "HEAD")
        if self._files.is_private(request.path):
            self._endpoint.check_client(self._caller(request))
        with self._in_time(ending, found.nbytes):
            await found.send(request, reply)

    # -- messages -------------------------------------------------------------

    async def _exchange(
        self, request: Request, reply: Reply, ending: Ending
    ) -> None:
        caller = self._caller(request)
        request.check_kind(calls.KIND)
        with _let_in(request):
            await self._calls.exchange(request, reply, caller, ending)

    async def _status(
        self, request: Request, reply: Reply, ending: Ending
    ) -> None:
        caller = self._caller(request)
        self._endpoint.check_operator(caller)
        request.check_kind(calls.KIND)
        with _let_in(request), self._in_time(ending):
            await self._calls.status(request, reply, caller)

    # -- who may call ---------------------------------------------------------

    async def _join(
        self, request: Request, reply: Reply, ending: Ending
    ) -> None:
        invited = self._endpoint.admission.invited
        if invited is None:
            raise _nobody_joins()
        with self._in_time(ending):
            code = str((await request.words()).get("code", ""))
            try:
                self._invitations.use(code)
            except HttpError:
                # Counted and logged as all who have no token.
                caller = Caller("", request.peer)
                self._endpoint.service.events.refused(
                    "", caller, "unauthenticated"
                )
                raise
            try:
                name, token = invited.add()
            except OSError:
                self._invitations.give_back(code)
                raise
            await reply.json({"name": name, "token": token})

    async def _invite(
        self, request: Request, reply: Reply, ending: Ending
    ) -> None:
        self._check_operator(request)
        if self._endpoint.admission.invited is None:
            raise _nobody_joins()
        code = self._invitations.make()
        with self._in_time(ending):
            await reply.json(
                {
                    "code": code,
                    "url": self._url(code),
                    "seconds": self._invitations.seconds,
                }
            )

    async def _revoke(
        self, request: Request, reply: Reply, ending: Ending
    ) -> None:
        self._check_operator(request)
        invited = self._endpoint.admission.invited
        with self._in_time(ending):
            name = str((await request.words()).get("name", ""))
            if invited is None or not invited.remove(name):
                raise HttpError(
                    404,
                    "Expected the name of a phone that joined, such as "
                    "web-1. Received: another. The dashboard shows them.",
                )
            await reply.json({})

    def _caller(self, request: Request) -> Caller:
        """Who calls.

        Raises:
            RefusedError: If the endpoint wants a token, and this is none.
        """
        return self._endpoint.caller(
            request.peer, request.token, request.certificate
        )

    def _check_operator(self, request: Request) -> None:
        """Lets the operator in; where nobody is asked for tokens, everybody.

        Raises:
            RefusedError: If it is somebody else.
        """
        caller = self._caller(request)
        self._endpoint.check_operator(caller)
        if self._endpoint.admission.asks and not caller.operator:
            # A client may look on where there is no operator, and no more.
            raise RefusedError(
                "Expected the operator's token. Received: a client's, of a "
                "server without one. Start it with --operator-token FILE.",
                "permission",
            )

    def _in_time(
        self, ending: Ending, nbytes: int = 0
    ) -> AbstractContextManager[None]:
        """Ends a request that takes longer than a message may."""
        return self._endpoint.timed(ending.end, nbytes)


def _nobody_joins() -> HttpError:
    return HttpError(
        501,
        "Expected a server that asks for tokens. Received: one that lets "
        "everybody in, so there is nothing to join.",
        "unimplemented",
    )


def _elsewhere() -> HttpError:
    return HttpError(
        501,
        "Expected a server that trains with browsers. Received: one that sends "
        "phones on to one of several processes, where no browser follows. "
        "Serve a merged cohort (--cohort merged --replicas N), or from one "
        "process.",
        "unimplemented",
    )


def _let_in(request: Request) -> AbstractContextManager[None]:
    """Keeps a connection from being ended for want of a place."""
    if request.connection is None:
        return contextlib.nullcontext()
    return request.connection.let_in()


def _hang_up(request: Request) -> None:
    if request.connection is not None:
        request.connection.hang_up()
