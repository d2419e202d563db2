"""How a server is run, in one place."""

import difflib
import logging
import os
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import replace
from numbers import Integral
from numbers import Real
from typing import Any

from keras_split.errors import OptionError
from keras_split.errors import TransportError
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.guards import GradientLimits
from keras_split.server.limits import StreamLimits
from keras_split.server.security import Certificates
from keras_split.server.security import Security
from keras_split.transports.address import is_loopback

_LOG = logging.getLogger("keras_split.server")
_Path = str | os.PathLike[str]
# What the numbers may be: the kind, from where on, and in words.
_COUNT = (Integral, lambda n: n >= 1, "an integer of 1 or more")
_AMOUNT = (Real, lambda n: n > 0, "a number above 0")
_RATE = (Real, lambda n: n >= 0, "a number of 0 or more")
_NUMBERS: dict[str, Any] = {
    "port": (Integral, lambda n: 0 <= n <= 65535, "a port, 0 to 65535"),
    **dict.fromkeys(
        (
            "max_sessions",
            "max_batch",
            "max_message_bytes",
            "max_unary_bytes",
            "checkpoint_every",
            "checkpoint_every_bytes",
            "max_streams",
            "max_inflight_bytes",
        ),
        _COUNT,
    ),
    **dict.fromkeys(
        (
            "idle_timeout_s",
            "hello_timeout_s",
            "message_timeout_s",
            "max_grad_norm",
            "max_smashed_norm",
            "clip_grad_norm",
            "messages_per_s",
        ),
        _AMOUNT,
    ),
    **dict.fromkeys(("hello_burst", "hellos_per_s"), _RATE),
    "max_reuse_bytes": (Integral, lambda n: n >= 0, "an integer of 0 or more"),
}
_PATHS = (str, os.PathLike, type(None))
BODIES = ("shared", "private")
_OR_NONE = ("clip_grad_norm", "max_streams")


@dataclass(frozen=True)
class ServerConfig:
    """Where a server listens, what it allows, what it keeps.

    `ServerModel.serve` takes one, or its fields by name, and the command line
    makes one. Times are in seconds, sizes in bytes.

    Attributes:
        address: Name or IP address to listen on.
        port: Port to listen on; 0 for any free one.
        security: Certificates and tokens; without them anyone who can reach
            the port may train.
        insecure: Whether to listen beyond this machine without TLS.
        bodies: `"shared"` if all clients train the body together, or
            `"private"` if each trains a copy of its own, as if alone.
        cohort: How the phones train one model together; None for each with a
            half of its own.
        inference_only: Whether clients may only evaluate and predict. No
            optimizer is made then, and nothing is kept.
        max_sessions: Sessions at the same time.
        max_batch: Examples of the largest batch that a message may carry.
        max_message_bytes: A bound on messages, whatever the batch.
        max_unary_bytes: A bound on those that come over gRPC in a call of
            their own, which is read before it is known who calls. In a stream
            they come in pieces of 1 MiB.
        idle_timeout_s: How long a session or a stream may be silent.
        max_grad_norm: Gradients of the features with a larger norm are
            refused.
        clip_grad_norm: Those with a larger norm are scaled down to it; None
            for as they are.
        max_smashed_norm: Smashed data of one message with a larger norm are
            refused; those of honest models are smaller.
        checkpoints: Folder for checkpoints; the server goes on from the last
            one there. None for a server that forgets.
        checkpoint_every: Steps from one checkpoint to the next.
        checkpoint_every_bytes: Or bytes of tensors that one session sent
            meanwhile, whichever comes first; clients keep as much.
        snapshots: Folder for snapshots; temporary if not given, or inside
            that for checkpoints.
        max_streams: Calls at the same time; None
            for as many as sessions.
        hello_timeout_s: How long a stream may take to open a session.
        message_timeout_s: How long a message may take to arrive, or a reply
            to be taken; 0.1 ms for each byte come on top, up to 10 minutes.
        max_inflight_bytes: Memory for messages that are arriving or being
            answered, of all clients together. One client has a quarter of
            it, or one message.
        max_reuse_bytes: Memory for smashed data of one session that need not
            be sent again, where its client asks for it. 8 sessions at a time
            have it; 0 for none.
        hello_burst: Sessions that one host or client may ask for at once.
        hellos_per_s: How many of these it is given back each second.
        messages_per_s: Messages that one stream may send in a second; so many
            at once as well.

    Raises:
        OptionError: If a value cannot be.

    Example:
    >>> ServerConfig(port=0, max_sessions=8).stream_limits.max_streams
    8
    """

    address: str = "127.0.0.1"
    port: int = 50051
    security: Security = Security()
    insecure: bool = False
    bodies: str = "shared"
    cohort: CohortConfig | None = None
    inference_only: bool = False
    max_sessions: int = 64
    max_batch: int = GradientLimits.max_batch
    max_message_bytes: int = 1 << 29
    max_unary_bytes: int = 4 << 20
    idle_timeout_s: float = StreamLimits.idle_timeout_s
    max_grad_norm: float = GradientLimits.max_grad_norm
    clip_grad_norm: float | None = GradientLimits.clip_grad_norm
    max_smashed_norm: float = GradientLimits.max_smashed_norm
    checkpoints: _Path | None = None
    checkpoint_every: int = 100
    checkpoint_every_bytes: int = 100 << 20
    snapshots: _Path | None = None
    max_streams: int | None = None
    hello_timeout_s: float = StreamLimits.hello_timeout_s
    message_timeout_s: float = StreamLimits.message_timeout_s
    max_inflight_bytes: int = StreamLimits.max_inflight_bytes
    max_reuse_bytes: int = 256 << 20
    hello_burst: float = StreamLimits.hello_burst
    hellos_per_s: float = StreamLimits.hellos_per_s
    messages_per_s: float = StreamLimits.messages_per_s

    def __post_init__(self) -> None:
        for name, (kind, fits, words) in _NUMBERS.items():
            value = getattr(self, name)
            if value is None and name in _OR_NONE:
                continue
            # A bool is an integer of Python's, and NaN fits nowhere.
            if isinstance(value, bool) or not (
                isinstance(value, kind) and fits(value)
            ):
                raise _wrong(name, words, value)
        for name, kinds, words in (
            ("address", str, "a name or an IP address"),
            ("security", Security, "a keras_split.server.Security"),
            ("insecure", bool, "True or False"),
            ("cohort", CohortConfig | None, "a CohortConfig"),
            ("inference_only", bool, "True or False"),
            ("checkpoints", _PATHS, "the path of a folder"),
            ("snapshots", _PATHS, "the path of a folder"),
        ):
            if not isinstance(getattr(self, name), kinds):
                raise _wrong(name, words, getattr(self, name))
        if self.bodies not in BODIES:
            raise _wrong("bodies", "one of " + ", ".join(BODIES), self.bodies)
        if self.inference_only:
            self._check_nothing_is_kept()
        if self.cohort is not None:
            self._check_cohort(self.cohort)

    @classmethod
    def get(
        cls, config: "ServerConfig | None" = None, **options: Any
    ) -> "ServerConfig":
        """A config, or the defaults, with other values for some fields.

        Raises:
            OptionError: If there is no such option, or a value cannot be.

        Example:
        >>> ServerConfig.get(max_batches=8)
        Traceback (most recent call last):
        keras_split.errors.OptionError: ... The nearest is 'max_batch'.
        """
        if not isinstance(config, cls | None):
            raise OptionError(
                f"Expected a ServerConfig, or its fields by name. Received: "
                f"{config!r}. Write serve(port=...), say."
            )
        names = [field.name for field in fields(cls)]
        for name, value in options.items():
            if name not in names:
                near = difflib.get_close_matches(name, names, 1, 0.0)[0]
                raise OptionError(
                    f"Expected an option of ServerConfig. Received: "
                    f"{name}={value!r}. The nearest is {near!r}."
                )
        return replace(config or cls(), **options)

    @property
    def stream_limits(self) -> StreamLimits:
        """What calls are allowed, before a session is asked for."""
        return StreamLimits(
            max_streams=self.max_streams or self.max_sessions,
            hello_timeout_s=self.hello_timeout_s,
            message_timeout_s=self.message_timeout_s,
            idle_timeout_s=self.idle_timeout_s,
            max_inflight_bytes=self.max_inflight_bytes,
            hello_burst=self.hello_burst,
            hellos_per_s=self.hellos_per_s,
            messages_per_s=self.messages_per_s,
        )

    @property
    def gradient_limits(self) -> GradientLimits:
        """What gradients and smashed data a session accepts."""
        return GradientLimits(
            self.max_grad_norm,
            self.clip_grad_norm,
            self.max_batch,
            self.max_smashed_norm,
        )

    @property
    def kind_of_bodies(self) -> str:
        """One of `BODIES`; a private cohort has a body for each phone."""
        if self.cohort is not None and self.cohort.mode == "private":
            return "private"
        return self.bodies

    def _check_cohort(self, cohort: CohortConfig) -> None:
        """Refuses what phones that train one model cannot have."""
        mode = cohort.mode
        if self.inference_only and mode != "personal":
            raise OptionError(
                f"Expected a body that is trained, for a {mode} cohort. "
                "Received: inference_only=True. Leave one of them out."
            )
        if self.bodies == "private" and mode in ("merged", "shared"):
            raise OptionError(
                f"Expected one body for a {mode} cohort. Received: "
                "bodies='private'. Leave it out, or choose the mode private."
            )
        if mode != "personal" and cohort.phones > self.max_sessions:
            raise OptionError(
                "Expected room for all phones that are awaited. Received: "
                f"phones={cohort.phones} and max_sessions="
                f"{self.max_sessions}. Raise --max-sessions."
            )
        streams = self.stream_limits.max_streams
        if mode != "personal" and cohort.phones > streams:
            raise OptionError(
                "Expected a call for each phone that is awaited. Received: "
                f"phones={cohort.phones} and max_streams={streams}. Raise "
                "max_streams, or leave it out."
            )
        if mode == "merged" and cohort.batch > self.max_batch:
            raise OptionError(
                f"Expected merged steps of {self.max_batch:,} examples or "
                f"less (max_batch). Received: batch={cohort.batch:,}. Raise "
                "--max-batch, too."
            )

    def _check_nothing_is_kept(self) -> None:
        """Refuses what only a body that is trained has."""
        for name, value in (
            ("checkpoints", self.checkpoints),
            ("snapshots", self.snapshots),
            ("bodies", self.bodies if self.bodies != "shared" else None),
            ("cohort", self.cohort and self.cohort.mode),
        ):
            if value is not None:
                raise OptionError(
                    "Expected one body, which does not change, with "
                    f"inference_only. Received: {name}={value!r}. Leave it "
                    "out, and serve the file that serve --save wrote."
                )

    def read_certificates(self) -> Certificates | None:
        """What to speak TLS with; None for a port that is not encrypted.

        Raises:
            DataError: If a file cannot be read, is no certificate, or the
                key is not that of the certificate.
            TransportError: If others could reach the port without TLS.
        """
        certificates = self.security.read_certificates()
        if certificates is not None or is_loopback(self.address):
            return certificates
        if not self.insecure:
            raise TransportError(
                f"Expected TLS to listen on {self.address}, which other "
                "machines can reach. Received: no certificate, so everybody "
                "between could read and change the data. Give --tls-cert and "
                "--tls-key (keras-split certs makes some), listen on "
                "127.0.0.1, or say --insecure if that is what you want."
            )
        _LOG.warning(
            "listening on %s without TLS: whoever can reach it, or is "
            "between, can read and change what is sent, tokens as well",
            self.address,
        )
        return None


def _wrong(name: str, expected: str, received: object) -> OptionError:
    return OptionError(
        f"Expected {name} to be {expected}. Received: {received!r}. See "
        "keras_split.ServerConfig for what it means."
    )
