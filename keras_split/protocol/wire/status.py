"""A server's status to protobuf and back."""

from collections.abc import Callable
from typing import Any

from keras_split.protocol.moment import Moment
from keras_split.protocol.status import CohortStatus
from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import RoundStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus
from keras_split.protocol.times import Times
from keras_split.protocol.wire import split_pb2 as pb

_KINDS: dict[type, Callable[..., Any]] = {
    CohortStatus: pb.CohortStatus,
    ReplicaStatus: pb.ReplicaStatus,
    RoundStatus: pb.RoundStatus,
    ServerStatus: pb.StatusReply,
    SessionStatus: pb.SessionStatus,
    Times: pb.Times,
}


def to_wire(status: ServerStatus) -> pb.StatusReply:
    """The reply that carries a status."""
    made: pb.StatusReply = _told(status)
    return made


def from_wire(reply: pb.StatusReply) -> ServerStatus:
    """The status in a reply."""
    age = reply.checkpoint_age_s
    return ServerStatus(
        **_read(
            ServerStatus(""),
            reply,
            cut=tuple(reply.cut),
            sessions=tuple(_session(item) for item in reply.sessions),
            refusals=dict(reply.refusals),
            checkpoint_age_s=None if age < 0 else age,
            cohort=_cohort(reply.cohort) if reply.HasField("cohort") else None,
            sessions_closed=dict(reply.sessions_closed),
            replicas=tuple(_replica(item) for item in reply.replicas),
        )
    )


def _told(value: Any) -> Any:
    """What is said of a value: a message where it has fields."""
    if isinstance(value, Moment):
        # Nothing is said of one that is not known.
        return pb.Moment(run=value.run, steps=value.steps) if value else None
    if isinstance(value, tuple):
        return [_told(item) for item in value]
    if (kind := _KINDS.get(type(value))) is None:
        return value
    told = {name: _told(item) for name, item in vars(value).items()}
    if told.get("checkpoint_age_s", 0.0) is None:
        told["checkpoint_age_s"] = -1.0
    return kind(**told)


def _read(ours: Any, item: Any, **known: Any) -> dict[str, Any]:
    """The values of all fields, those that are `known` as they are."""
    found = {}
    for name, default in vars(ours).items():
        if name in known:
            found[name] = known[name]
            continue
        value = getattr(item, name)
        if isinstance(default, Moment):
            value = Moment(value.run, value.steps)
        elif isinstance(default, Times):
            value = Times(
                tuple(value.bounds_s), tuple(value.counts), value.total_s
            )
        found[name] = value
    return found


def _session(item: pb.SessionStatus) -> SessionStatus:
    return SessionStatus(**_read(SessionStatus(""), item))


def _cohort(item: pb.CohortStatus) -> CohortStatus:
    return CohortStatus(
        **_read(
            CohortStatus(),
            item,
            present=dict(sorted(item.present.items())),
            last_dropped=tuple(item.last_dropped),
            recent=tuple(_round(one) for one in item.recent),
        )
    )


def _round(item: pb.RoundStatus) -> RoundStatus:
    return RoundStatus(
        **_read(
            RoundStatus(0),
            item,
            members=tuple(item.members),
            dropped=tuple(item.dropped),
        )
    )


def _replica(item: pb.ReplicaStatus) -> ReplicaStatus:
    return ReplicaStatus(
        **_read(ReplicaStatus(""), item, status=from_wire(item.status))
    )
