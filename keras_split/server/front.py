"""Where clients ask which of several servers has their session."""

from typing import Protocol

from keras_split.errors import ProtocolError
from keras_split.protocol import validation
from keras_split.protocol.contract import Contract
from keras_split.protocol.messages import PROTOCOL
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Welcome
from keras_split.server.accounts import Accounts
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import ServerCallback
from keras_split.server.config import ServerConfig
from keras_split.server.session_state import not_open
from keras_split.server.steps import Early

_NOBODY = Caller()
_LONGEST_BYTES = 1 << 16  # of a Hello: no tensors come here


class Directory(Protocol):
    """Knows several servers of one model, and which sessions each has."""

    def choose(self, client: str) -> str:
        """`"host:port"` of the server that is to open a new session.

        Args:
            client: Whose, as its token or certificate says: where its body
                is, if it has one; empty if nobody knows.

        Raises:
            ProtocolError: With reason `"busy"`, if there is none now.
        """

    def find(self, session: str) -> str:
        """`"host:port"` of the server that has a session.

        Raises:
            ProtocolError: With reason `"busy"`, if that one is away, or
                `"session"`, if none has it.
        """


class Front:
    """Answers each `Hello` with the address of a server, and nothing else.

    No tensor comes here: a client that was sent on talks to its server alone,
    and comes back when that one is gone.

    Args:
        contract: Of the model that all of them serve; who was cut otherwise
            hears it here.
        directory: Knows the servers.
        config: What callers may do.
        events: Hears what happens.

    Attributes:
        accounts: What each client has and uses.
        events: The same.
        max_message_bytes: The longest payload of a message.
    """

    def __init__(
        self,
        contract: Contract,
        directory: Directory,
        config: ServerConfig | None = None,
        events: ServerCallback | None = None,
    ) -> None:
        config = ServerConfig.get(config)
        self._contract, self._directory = contract, directory
        self._stopping = False
        self.events = events or ServerCallback()
        self.max_message_bytes = _LONGEST_BYTES
        self.accounts = Accounts(config.stream_limits, _LONGEST_BYTES)

    def handle(
        self,
        message: Message,
        caller: Caller = _NOBODY,
        early: Early | None = None,
    ) -> Message:
        """See `MessageService`."""
        try:
            if not isinstance(message, Hello):
                raise not_open()
            return Welcome("", address=self._address(message, caller))
        except ProtocolError as error:
            self.events.refused("", caller, error.reason)
            return Refusal(error.reason, str(error))

    def hear(self, session: str) -> None:
        """No session is here."""

    def leave(self, session: str) -> None:
        """No session is here."""

    def drain(self, grace_s: float) -> None:
        """Sends nobody on any more."""
        self._stopping = True
        self.events.stopping()

    def close_all(self) -> None:
        """No session is here."""
        self._stopping = True

    def _address(self, hello: Hello, caller: Caller) -> str:
        if self._stopping:
            raise ProtocolError(
                "Expected a server that goes on. Received: one that is about "
                "to stop. Wait until it is back.",
                "stopping",
            )
        if hello.protocol != PROTOCOL:
            raise ProtocolError(
                f"Expected protocol version {PROTOCOL}. Received: "
                f"{hello.protocol}. Install the same keras_split on the "
                "phone and on the server.",
                "protocol",
            )
        validation.check_contract(hello.contract, self._contract)
        if not hello.follows:
            raise ProtocolError(
                "Expected a client that goes where the server sends it "
                "(Hello.follows): several servers share the sessions here. "
                "Received: one that does not, such as a browser. Install a "
                "newer keras_split on the phone, have it call one server "
                "directly, or serve browsers with --cohort merged.",
                "unimplemented",
            )
        if hello.session:
            return self._directory.find(hello.session)
        return self._directory.choose(caller.client)
