"""A server's status to protobuf and back."""

from typing import Any

from keras_split.protocol.moment import Moment
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus
from keras_split.protocol.wire import split_pb2 as pb


def to_wire(status: ServerStatus) -> pb.StatusReply:
    """The reply that carries a status."""
    age = status.checkpoint_age_s
    return pb.StatusReply(
        **{
            **_told(status),
            "sessions": [pb.SessionStatus(**_told(s)) for s in status.sessions],
            "checkpoint_age_s": -1.0 if age is None else age,
        }
    )


def from_wire(reply: pb.StatusReply) -> ServerStatus:
    """The status in a reply."""
    age = reply.checkpoint_age_s
    values = {name: getattr(reply, name) for name in vars(ServerStatus(""))}
    return ServerStatus(
        **{
            **values,
            "cut": tuple(reply.cut),
            "sessions": tuple(_session(item) for item in reply.sessions),
            "refusals": dict(reply.refusals),
            "checkpoint_age_s": None if age < 0 else age,
            "moment": Moment(reply.moment.run, reply.moment.steps),
        }
    )


def _told(status: ServerStatus | SessionStatus) -> dict[str, Any]:
    moment = status.moment
    said = pb.Moment(run=moment.run, steps=moment.steps) if moment else None
    return {**vars(status), "moment": said}


def _session(item: pb.SessionStatus) -> SessionStatus:
    values = {name: getattr(item, name) for name in vars(SessionStatus(""))}
    moment = Moment(item.moment.run, item.moment.steps)
    return SessionStatus(**{**values, "moment": moment})
