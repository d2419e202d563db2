"""Several servers that are seen as one."""

from keras_split.protocol.moment import Moment
from keras_split.protocol.status import FRONT
from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus
from keras_split.protocol.status_sum import as_one
from keras_split.protocol.status_sum import continued
from keras_split.protocol.status_sum import together
from keras_split.protocol.times import Times


def test_counts_are_added_up_and_sessions_stand_beside_each_other():
    one = ServerStatus(
        "f",
        ("a", "b"),
        10.0,
        3,
        sessions=(SessionStatus("s"),),
        refusals={"size": 1},
        checkpoint_age_s=2.0,
        memory_bytes=5,
        queue_times=Times((0.1, 1.0), (1, 0, 0), 0.05),
        sessions_opened=1,
    )
    other = ServerStatus(
        "f",
        ("a", "b"),
        4.0,
        4,
        sessions=(SessionStatus("t"),),
        refusals={"size": 2, "norm": 1},
        checkpoint_age_s=7.0,
        memory_bytes=6,
        queue_times=Times((0.1, 1.0), (0, 2, 1), 4.0),
        sessions_opened=2,
    )
    silent = ServerStatus("f", ("a", "b"), draining=True)

    made = together([one, other, silent])

    assert (made.fingerprint, made.cut, made.uptime_s) == ("f", ("a", "b"), 10)
    assert (made.steps, made.memory_bytes, made.sessions_opened) == (7, 11, 3)
    assert [session.label for session in made.sessions] == ["s", "t"]
    assert made.refusals == {"size": 3, "norm": 1}
    assert made.checkpoint_age_s == 7.0
    assert made.queue_times == Times((0.1, 1.0), (1, 2, 1), 4.05)
    assert made.draining


def test_one_is_itself():
    one = ServerStatus("f", ("a",), 1.0, 2, checkpoint_age_s=None)

    assert together([one]) == one


def test_replicas_are_one_server_and_each_is_itself():
    def replica(name, up, steps):
        phone = SessionStatus(f"of {name}", connected=True)
        status = ServerStatus("f", steps=steps, sessions=(phone,))
        return ReplicaStatus(name, up=up, status=status)

    front = ServerStatus("f", ("a",), 9.0, refusals={"token": 2})
    parts = [
        ReplicaStatus(FRONT, up=True, status=front),
        replica("0", True, 3),
        replica("1", False, 4),
    ]

    made = as_one(parts, averages=5)

    assert (made.cut, made.steps, made.averages) == (("a",), 7, 5)
    assert made.refusals == {"token": 2}
    assert [(s.label, s.replica, s.connected) for s in made.sessions] == [
        ("of 0", "0", True),
        ("of 1", "1", False),
    ]
    assert [part.status.steps for part in made.replicas] == [0, 3, 4]
    assert all(part.status.sessions == () for part in made.replicas)


def test_what_was_counted_of_a_process_goes_on_with_the_next():
    before = ServerStatus(
        "f",
        uptime_s=90.0,
        steps=7,
        sessions=(SessionStatus("s"),),
        refusals={"size": 1},
        checkpoint_age_s=50.0,
        draining=True,
        memory_bytes=5,
    )
    now = ServerStatus(
        *("f", (), 2.0, 3), memory_bytes=6, moment=Moment("ab" * 16, 3)
    )

    made = continued(before, now)

    assert (made.steps, made.refusals) == (10, {"size": 1})
    assert (made.uptime_s, made.memory_bytes) == (2.0, 6)
    assert made.sessions == () and made.checkpoint_age_s is None
    assert not made.draining and made.moment == now.moment
