"""What a server is doing, for the person who runs it."""

from dataclasses import dataclass
from dataclasses import field

from keras_split.protocol.moment import Moment
from keras_split.protocol.times import Times

FRONT = "front"  # name of the process to which clients come first


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
        replica: Name of that which has it, if several share the sessions.
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
    replica: str = ""


@dataclass(frozen=True)
class RoundStatus:
    """One round of a cohort, or merged step, that ended.

    Attributes:
        number: Of the round, or of the step.
        merged: Whether it was a merged step.
        seconds: How long it took.
        members: Who is in it, by number in the cohort.
        dropped: Who was left out.
    """

    number: int
    merged: bool = False
    seconds: float = 0.0
    members: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()


@dataclass(frozen=True)
class CohortStatus:
    """The phones of a server that train one model.

    Attributes:
        name: 32 hexadecimal digits; empty where there is no cohort.
        mode: One of `protocol.cohort.MODES`.
        phones: How many are expected.
        secure: Whether halves are added up under masks.
        members: How many were here since the server started.
        present: Who is here: labels of sessions by number in the cohort.
        number: Of the last round, or merged step; -1 before the first.
        steps: Merged steps since the server started.
        rounds: Rounds that ended since then.
        last_s: Seconds that the last of these took.
        last_dropped: Who was left out of it, by number in the cohort.
        left_out: Times that a phone was left out, over all of them.
        step_times: How long merged steps took.
        round_times: How long rounds took.
        recent: The last of these, the newest at the end.
    """

    name: str = ""
    mode: str = ""
    phones: int = 0
    secure: bool = False
    members: int = 0
    present: dict[int, str] = field(default_factory=dict)
    number: int = -1
    steps: int = 0
    rounds: int = 0
    last_s: float = 0.0
    last_dropped: tuple[int, ...] = ()
    left_out: int = 0
    step_times: Times = Times()
    round_times: Times = Times()
    recent: tuple[RoundStatus, ...] = ()


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
        cohort: The phones that train one model; None if each is for itself.
        queue_times: How long the backwards of steps waited for their turn.
        compute_times: How long forward and backward of steps took.
        checkpoint_times: How long it took to write checkpoints.
        sessions_opened: Sessions that were opened since it started.
        sessions_resumed: Times that a client came back to its session.
        sessions_closed: How many sessions ended, by reason.
        replicas: Those that share the sessions, and the front that sends
            clients to them; empty if this is one process.
        averages: How often the bodies of replicas became one.
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
    cohort: CohortStatus | None = None
    queue_times: Times = Times()
    compute_times: Times = Times()
    checkpoint_times: Times = Times()
    sessions_opened: int = 0
    sessions_resumed: int = 0
    sessions_closed: dict[str, int] = field(default_factory=dict)
    replicas: tuple["ReplicaStatus", ...] = ()
    averages: int = 0


@dataclass(frozen=True)
class ReplicaStatus:
    """One process of several that are one server.

    Attributes:
        name: Its number, as `"0"`; or `FRONT`.
        address: `"host:port"` at which clients reach it; empty if nobody
            knows yet.
        up: Whether clients are sent to it.
        silent_s: Seconds since it said what follows.
        restarts: How often its process was started again.
        status: What it does. What is counted is of all its processes. On the
            way to others its sessions are those of the whole server that
            have its name.
    """

    name: str
    address: str = ""
    up: bool = False
    silent_s: float = 0.0
    restarts: int = 0
    status: ServerStatus = ServerStatus("")
