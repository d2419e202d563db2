"""What a server is doing, for the person who runs it."""

from dataclasses import dataclass
from dataclasses import field

from keras_split.protocol.moment import Moment


@dataclass(frozen=True)
class SessionStatus:
    """One open session.

    Attributes:
        label: A short name of the session, and no secret.
        client: Who it is, as its token or certificate says; empty if the
            server asks nobody.
        peer: Where it called from.
        steps: Steps that this server committed for it.
        uplink_bytes: Bytes that came from the client.
        downlink_bytes: Bytes that went to the client.
        idle_s: Seconds since the server last heard of it.
        connected: Whether its client is there, or may come back.
        moment: Of its body after the last of these steps.
    """

    label: str
    client: str = ""
    peer: str = ""
    steps: int = 0
    uplink_bytes: int = 0
    downlink_bytes: int = 0
    idle_s: float = 0.0
    connected: bool = False
    moment: Moment = Moment()


@dataclass(frozen=True)
class ServerStatus:
    """A server and its open sessions.

    Attributes:
        fingerprint: Of the model that it serves.
        cut: The layers after which that model is cut.
        uptime_s: Seconds since it started.
        steps: Steps committed since then, over all sessions, also closed
            ones.
        uplink_bytes: Bytes that came from clients since then.
        downlink_bytes: Bytes that went to clients since then.
        sessions: The sessions that are open.
        refusals: How many messages were refused, by reason.
        checkpoint_age_s: Seconds since the last checkpoint; None if the
            server has written none.
        draining: Whether it is about to stop and takes no new sessions.
        memory_bytes: Memory that it has in use (resident); 0 if the system
            does not say.
        moment: Of the body that is served; empty if it has not trained, or
            if the server does not say.
        inference_only: Whether it evaluates and predicts, and trains nothing.
    """

    fingerprint: str
    cut: tuple[str, ...] = ()
    uptime_s: float = 0.0
    steps: int = 0
    uplink_bytes: int = 0
    downlink_bytes: int = 0
    sessions: tuple[SessionStatus, ...] = ()
    refusals: dict[str, int] = field(default_factory=dict)
    checkpoint_age_s: float | None = None
    draining: bool = False
    memory_bytes: int = 0
    moment: Moment = Moment()
    inference_only: bool = False
