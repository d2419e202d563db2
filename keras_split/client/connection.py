"""The way from the phone to its server, which may be lost and made again."""

from typing import TYPE_CHECKING
from typing import Any

from keras_split.compression import codecs
from keras_split.errors import TransportError
from keras_split.protocol.contract import Contract
from keras_split.protocol.credentials import Credentials
from keras_split.transports import Transport
from keras_split.transports.address import is_loopback
from keras_split.transports.address import split
from keras_split.transports.grpc.transport import GrpcTransport

if TYPE_CHECKING:
    from keras_split.server.service import TrainingService

_SCHEMES = {"grpc://": False, "grpcs://": True}  # and whether it is TLS


class Connection:
    """Where the server is, and the transport to it, if there is one now.

    Args:
        address: `"grpc://host:port"`, or `"grpcs://host:port"` for TLS; None
            for a server in this process.
        credentials: Certificates and token, for a server that asks for them.
        connect_timeout_s: How long to wait for the server to be there.
        reply_timeout_s: How long to wait for each reply.

    Raises:
        ValueError: If the address is not of that form.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        credentials: Credentials | dict[str, Any] | None = None,
        connect_timeout_s: float = 10.0,
        reply_timeout_s: float = 600.0,
    ) -> None:
        self._target, self._secure = _split(address)
        if isinstance(credentials, dict):
            credentials = Credentials.from_config(credentials)
        self.address = address
        self.credentials = credentials
        self.connect_timeout_s = connect_timeout_s
        self.reply_timeout_s = reply_timeout_s
        self._transport: Transport | None = None
        self._before = (0, 0)

    @property
    def uplink_bytes(self) -> int:
        """Bytes sent to the server so far, over all sessions."""
        now = self._transport.uplink_bytes if self._transport else 0
        return self._before[0] + now

    @property
    def downlink_bytes(self) -> int:
        """Bytes received from the server so far, over all sessions."""
        now = self._transport.downlink_bytes if self._transport else 0
        return self._before[1] + now

    @property
    def _far(self) -> bool:
        """Whether the server has cores of its own."""
        return self._target != "" and not is_loopback(split(self._target)[0])

    def _reach(
        self, contract: Contract, host: "TrainingService | None"
    ) -> Transport:
        """A transport to the server, or to `host` without an address."""
        codec = codecs.get(contract.codec)
        if self._target:
            return GrpcTransport(
                self._target,
                codec,
                secure=self._secure,
                credentials=self.credentials,
                connect_timeout_s=self.connect_timeout_s,
                reply_timeout_s=self.reply_timeout_s,
            )
        if host is None:
            raise TransportError(
                "Expected a server to train with. Received: a client that "
                "was loaded without one. Pass client.compile(..., strategy="
                "keras_split.SplitStrategy('grpc://host:port'))."
            )
        from keras_split.server.in_process import InProcessTransport

        return InProcessTransport(host, codec)

    def _local_host(self) -> "TrainingService | None":
        """The server, if it is in this process."""
        from keras_split.server.in_process import InProcessTransport

        if isinstance(self._transport, InProcessTransport):
            return self._transport.host
        return None

    def _hang_up(self) -> None:
        """Closes the transport; the session waits on the server."""
        if self._transport is not None:
            self._before = (self.uplink_bytes, self.downlink_bytes)
            self._transport.close()
        self._transport = None


def _split(address: str | None) -> tuple[str, bool]:
    """Target and whether it speaks TLS; no target for this process."""
    if address is None:
        return "", False
    for scheme, secure in _SCHEMES.items():
        target = str(address).removeprefix(scheme)
        host, _, port = target.rpartition(":")
        if str(address).startswith(scheme) and host and port.isdigit():
            return target, secure
    raise ValueError(
        "Expected an address such as 'grpc://127.0.0.1:50051', "
        "'grpcs://10.0.0.2:50051' for TLS, or None to train in this process. "
        f"Received: {address!r}."
    )
