from dataclasses import fields
from dataclasses import replace

import pytest

from keras_split.protocol.moment import Moment
from keras_split.protocol.status import CohortStatus
from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import RoundStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus
from keras_split.protocol.times import Times
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire import status as wire

PHONE = SessionStatus("ab12", "ann", "ipv4:1.2.3.4:5", 3, 1 << 40, 7, 0.5, True)
MOMENT = Moment("ab" * 16, 1 << 40)
TIMES = Times((0.1, 1.0), (1 << 40, 0, 3), 0.25)
FULL = ServerStatus(
    fingerprint="f" * 64,
    cut=("first", "second"),
    uptime_s=12.5,
    steps=9,
    uplink_bytes=1 << 41,
    downlink_bytes=8,
    sessions=(
        replace(PHONE, moment=MOMENT, replica="1"),
        SessionStatus("cd34"),
    ),
    refusals={"token": 2, "shape": 1},
    checkpoint_age_s=1.5,
    draining=True,
    memory_bytes=1 << 33,
    moment=MOMENT,
    cohort=CohortStatus(
        *("ab" * 16, "merged", 5, True, 6, {0: "ab12", 4: "cd34"}, -1),
        *(1 << 40, 3, 0.25, (1, 2), 9),
        step_times=TIMES,
        round_times=replace(TIMES, total_s=1.0),
        recent=(
            RoundStatus(-1, False, 0.5, (0, 3), (1,)),
            RoundStatus(4, True),
        ),
    ),
    queue_times=TIMES,
    compute_times=replace(TIMES, total_s=2.0),
    checkpoint_times=replace(TIMES, total_s=3.0),
    sessions_opened=5,
    sessions_resumed=6,
    sessions_closed={"idle": 1, "goodbye": 1 << 40},
    replicas=(
        ReplicaStatus(
            *("1", "10.0.0.2:50052", True, 0.5, 2),
            ServerStatus("f", steps=7, moment=MOMENT, refusals={"shape": 1}),
        ),
        ReplicaStatus("2"),
    ),
    averages=1 << 33,
)


@pytest.mark.parametrize("status", [FULL, ServerStatus("")])
def test_a_status_survives_the_wire(status):
    data = wire.to_wire(status).SerializeToString()

    assert wire.from_wire(pb.StatusReply.FromString(data)) == status


def test_nothing_in_the_example_is_as_it_would_be_anyway():
    plain = (ServerStatus(""), CohortStatus())
    for full, default in zip((FULL, FULL.cohort), plain, strict=True):
        same = {n for n, v in vars(default).items() if vars(full)[n] == v}
        assert same <= {"inference_only", "number"}


def test_a_server_from_before_tells_no_times():
    status = wire.from_wire(pb.StatusReply(fingerprint="f", steps=3))

    assert status.steps == 3
    assert status.queue_times == Times() and status.sessions_closed == {}


def test_no_checkpoint_is_a_negative_age_on_the_wire():
    assert wire.to_wire(ServerStatus("")).checkpoint_age_s < 0
    assert wire.to_wire(FULL).checkpoint_age_s == 1.5


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (ServerStatus, pb.StatusReply),
        (SessionStatus, pb.SessionStatus),
        (CohortStatus, pb.CohortStatus),
        (ReplicaStatus, pb.ReplicaStatus),
        (RoundStatus, pb.RoundStatus),
        (Times, pb.Times),
    ],
)
def test_every_field_of_the_reply_has_its_place(ours, theirs):
    assert {f.name for f in fields(ours)} == set(
        theirs.DESCRIPTOR.fields_by_name
    )
