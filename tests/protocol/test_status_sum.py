"""Several servers that are seen as one."""

from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus
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
