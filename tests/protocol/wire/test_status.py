from dataclasses import fields
from dataclasses import replace

import pytest

from keras_split.protocol.moment import Moment
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire import status as wire

PHONE = SessionStatus("ab12", "ann", "ipv4:1.2.3.4:5", 3, 1 << 40, 7, 0.5, True)
MOMENT = Moment("ab" * 16, 1 << 40)
FULL = ServerStatus(
    fingerprint="f" * 64,
    cut=("first", "second"),
    uptime_s=12.5,
    steps=9,
    uplink_bytes=1 << 41,
    downlink_bytes=8,
    sessions=(replace(PHONE, moment=MOMENT), SessionStatus("cd34")),
    refusals={"token": 2, "shape": 1},
    checkpoint_age_s=1.5,
    draining=True,
    memory_bytes=1 << 33,
    moment=MOMENT,
)


@pytest.mark.parametrize("status", [FULL, ServerStatus("")])
def test_a_status_survives_the_wire(status):
    data = wire.to_wire(status).SerializeToString()

    assert wire.from_wire(pb.StatusReply.FromString(data)) == status


def test_no_checkpoint_is_a_negative_age_on_the_wire():
    assert wire.to_wire(ServerStatus("")).checkpoint_age_s < 0
    assert wire.to_wire(FULL).checkpoint_age_s == 1.5


@pytest.mark.parametrize(
    "ours, theirs",
    [(ServerStatus, pb.StatusReply), (SessionStatus, pb.SessionStatus)],
)
def test_every_field_of_the_reply_has_its_place(ours, theirs):
    assert {f.name for f in fields(ours)} == set(
        theirs.DESCRIPTOR.fields_by_name
    )
