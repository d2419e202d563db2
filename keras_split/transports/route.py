"""How a client gets to its server: a transport for each scheme."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace
from functools import lru_cache
from importlib import metadata
from numbers import Real
from typing import Any
from typing import NamedTuple

from keras_split.compression import codecs
from keras_split.errors import OptionError
from keras_split.errors import TransportError
from keras_split.protocol.contract import Contract
from keras_split.protocol.credentials import Credentials
from keras_split.transports.address import Address
from keras_split.transports.transport import Transport

ENTRY_POINTS = "keras_split.transports"


@dataclass(frozen=True)
class Route:
    """The way to a server, as a user says it.

    Attributes:
        address: Where it is; None if a transport is given instead, or the
            server is in this process.
        transport: One, used for every connection, or what makes one for each
            from this route and the contract.
        credentials: Certificates and token, for a server that asks for them.
        connect_timeout_s: How long to wait for the server to be there.
        reply_timeout_s: How long to wait for each reply.
    """

    address: Address | None = None
    transport: "Transport | Factory | None" = None
    credentials: Credentials | None = None
    connect_timeout_s: float = 10.0
    reply_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("connect_timeout_s", "reply_timeout_s"):
            value = getattr(self, name)
            is_time = isinstance(value, Real) and not isinstance(value, bool)
            if not (is_time and value > 0):
                raise OptionError(
                    f"Expected {name} to be seconds, a number above 0. "
                    f"Received: {value!r}. float('inf') waits for ever."
                )

    @classmethod
    def to(
        cls,
        address: str | Address | None = None,
        *,
        transport: "Transport | Factory | None" = None,
        credentials: Credentials | dict[str, Any] | None = None,
        **timeouts: float,
    ) -> "Route":
        """A route from what users write.

        Raises:
            ValueError: If the address is none, its scheme is not known, or
                there is a transport as well.
            OptionError: If a time is none.
        """
        if address is not None and transport is not None:
            raise ValueError(
                "Expected an address or a transport. Received: both, "
                f"{str(address)!r} and {transport!r}. Leave out one."
            )
        if address is not None:
            if not isinstance(address, Address):
                address = Address.parse(address)
            scheme = _find(address.scheme)
            if scheme.has_port:
                address.check_port()
        if isinstance(credentials, dict):
            credentials = Credentials.from_config(credentials)
        return cls(address, transport, credentials, **timeouts)

    @property
    def local(self) -> bool:
        """Whether it leads nowhere but to a server in this process."""
        return self.address is None and self.transport is None

    @property
    def far(self) -> bool:
        """Whether the server has cores of its own, as it seems."""
        return self.address is not None and not self.address.is_loopback

    def elsewhere(self, target: str) -> "Route":
        """The same, to another server of the same scheme.

        Args:
            target: `"host:port"`, as the first server said.

        Raises:
            ValueError: If it is none.
            TransportError: If this route has no address of its own.
        """
        if self.address is None:
            raise TransportError(
                "Expected a server that has its sessions itself, behind a "
                f"transport of one's own. Received: one that sends to "
                f"{target!r}. Give the strategy an address."
            )
        address = Address(self.address.scheme, target)
        address.check_port()
        return replace(self, address=address)

    def open(
        self, contract: Contract, local: Transport | None = None
    ) -> Transport:
        """A transport to the server.

        Args:
            contract: What the client was cut with.
            local: To the server in this process, if there is one.

        Raises:
            TransportError: If the server is not there, or there is none.
        """
        if isinstance(self.transport, Transport):
            return self.transport
        if self.transport is not None:
            return self.transport(self, contract)
        if self.address is not None:
            return _find(self.address.scheme).factory(self, contract)
        if local is None:
            raise TransportError(
                "Expected a server to train with. Received: a client that "
                "was loaded without one. Pass client.compile(..., strategy="
                "keras_split.SplitStrategy('grpc://host:port'))."
            )
        return local


Factory = Callable[[Route, Contract], Transport]


class _Scheme(NamedTuple):
    factory: Factory
    has_port: bool


def register(scheme: str, factory: Factory, *, has_port: bool = False) -> None:
    """Lets addresses of a scheme be used wherever one is asked for.

    A package does the same without a call, for the command line too, with an
    entry point of the group `keras_split.transports` whose name is the scheme
    and which leads to the factory.

    Args:
        scheme: What is before `://`. A scheme that is known is replaced.
        factory: Makes a transport from a `Route` and the `Contract` of the
            client, for every connection anew.
        has_port: Whether an address has to be `scheme://host:port`; otherwise
            the factory looks at the target.

    Raises:
        ValueError: If the scheme is not a word such as `"http+json"`.
    """
    if not scheme.replace("+", "").replace("-", "").isalnum():
        raise ValueError(
            "Expected a scheme of letters, digits, + and -, such as 'ray'. "
            f"Received: {scheme!r}."
        )
    _SCHEMES[scheme] = _Scheme(factory, has_port)


def get(
    address: str | Address, contract: Contract, **options: Any
) -> Transport:
    """Connects to a server.

    Args:
        address: `"scheme://target"`, of a registered scheme.
        contract: What the client was cut with.
        **options: `credentials`, `connect_timeout_s` and `reply_timeout_s` of
            `Route`.

    Raises:
        ValueError: If the address is none, or its scheme is not known.
        TransportError: If the server is not there.
    """
    return Route.to(address, **options).open(contract)


def names() -> list[str]:
    """The schemes that are known."""
    return sorted({*_SCHEMES, *metadata.entry_points(group=ENTRY_POINTS).names})


def _find(scheme: str) -> _Scheme:
    found = _SCHEMES.get(scheme)
    if found is not None:
        return found
    for entry in metadata.entry_points(group=ENTRY_POINTS, name=scheme):
        register(scheme, entry.load())
        return _SCHEMES[scheme]
    raise ValueError(
        "Expected an address such as 'grpc://127.0.0.1:50051', of one of the "
        f"schemes {', '.join(names())}. Received: scheme {scheme!r}. "
        "keras_split.transports.register adds another."
    )


def _grpc(route: Route, contract: Contract) -> Transport:
    from keras_split.transports.grpc.transport import GrpcTransport

    assert route.address is not None
    return GrpcTransport(
        route.address.target,
        codecs.get(contract.codec),
        secure=route.address.scheme == "grpcs",
        credentials=route.credentials,
        connect_timeout_s=route.connect_timeout_s,
        reply_timeout_s=route.reply_timeout_s,
        # A batch is as large as the one before, as a rule.
        reply_limit_bytes=lru_cache(maxsize=16)(contract.reply_limit_bytes),
    )


_SCHEMES: dict[str, _Scheme] = {}
register("grpc", _grpc, has_port=True)
register("grpcs", _grpc, has_port=True)
