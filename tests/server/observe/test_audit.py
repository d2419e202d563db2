import errno
import json
import os
import resource
import stat
import threading
from datetime import datetime
from datetime import timedelta

import pytest

from keras_split.errors import DataError
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import StepCommitted
from keras_split.server.callbacks import StepMerged
from keras_split.server.observe.audit import Audit

ANN = Caller("ann", "ipv4:10.0.0.2:4000")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(path):
    """The records without their times."""
    return [{k: v for k, v in r.items() if k != "time"} for r in records(path)]


def test_every_event_is_a_line_with_what_there_is_of_it(path):
    with Audit(path) as audit:
        audit.loaded("state", {"old": 4})
        audit.opened("s", ANN)
        audit.carried("s", 100, 20)
        audit.committed(StepCommitted("s", 0, 0.1, 0.2))
        audit.restored("s", "secret tag")
        audit.left("s")
        audit.resumed("s", Caller(peer="p"), 1)
        audit.refused("", Caller(peer="p"), "shape")
        audit.carried("s", 5, 6)
        audit.closed("s", "goodbye")
        audit.checkpointed("state", 0.25)

    assert told(path) == [
        {"event": "loaded", "path": "state", "sessions": {"old": 4}},
        {
            "event": "opened",
            "session": "s",
            "client": "ann",
            "peer": "ipv4:10.0.0.2:4000",
        },
        {"event": "step", "session": "s", "step": 0},
        {"event": "restored", "session": "s"},
        {
            "event": "left",
            "session": "s",
            "uplink_bytes": 100,
            "downlink_bytes": 20,
        },
        {"event": "resumed", "session": "s", "peer": "p", "step": 1},
        {"event": "refused", "peer": "p", "reason": "shape"},
        {
            "event": "closed",
            "session": "s",
            "reason": "goodbye",
            "uplink_bytes": 5,
            "downlink_bytes": 6,
        },
        {"event": "checkpointed", "path": "state", "seconds": 0.25},
    ]


def test_a_replica_says_which_it_is(path):
    with Audit(path, replica=0) as audit:
        audit.committed(StepCommitted("s", 0, 0.1, 0.2))

    assert told(path) == [
        {"event": "step", "session": "s", "replica": 0, "step": 0}
    ]


def test_times_are_utc_and_in_order(path):
    with Audit(path) as audit:
        for step in range(3):
            audit.committed(StepCommitted("s", step, 0.0, 0.0))

    times = [datetime.fromisoformat(r["time"]) for r in records(path)]
    assert times == sorted(times)
    assert all(time.utcoffset() == timedelta(0) for time in times)


def test_a_line_is_there_before_the_file_is_closed(path):
    audit = Audit(path)

    audit.committed(StepCommitted("s", 0, 0.0, 0.0))

    assert len(records(path)) == 1
    audit.close()


def test_only_its_owner_may_read_it(path):
    before = os.umask(0)
    try:
        Audit(path).close()
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_server_appends(path):
    for step in range(2):
        with Audit(path) as audit:
            audit.committed(StepCommitted("s", step, 0.0, 0.0))

    assert [r["step"] for r in records(path)] == [0, 1]


def test_a_line_that_was_torn_does_not_take_the_next_one_with_it(path):
    path.write_bytes(b'{"event": "st')

    with Audit(path) as audit:
        audit.committed(StepCommitted("s", 3, 0.0, 0.0))

    torn, whole = path.read_text().splitlines()
    assert torn == '{"event": "st'
    assert json.loads(whole)["step"] == 3


@pytest.mark.parametrize("place", ["missing/audit.jsonl", "."])
def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path, place):
    with pytest.raises(DataError, match="--audit-log"):
        Audit(tmp_path / place)


def test_what_a_client_wrote_cannot_make_a_line_of_its_own(path):
    evil = Caller('x"\n{"event": "step"}', "p\u2028\n")

    with Audit(path) as audit:
        audit.opened("s", evil)
        audit.refused("s", evil, 'shape"\n{"event": "step"}')

    opened, refused = records(path)
    assert opened["client"] == evil.client
    assert refused["reason"] == "other"


def test_steps_of_many_threads_are_one_line_each(path):
    with Audit(path) as audit:

        def work(session):
            for step in range(200):
                audit.committed(StepCommitted(session, step, 0.0, 0.0))

        threads = [threading.Thread(target=work, args=[n]) for n in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    steps = [(r["session"], r["step"]) for r in records(path)]
    assert len(steps) == len(set(steps)) == 800


def test_a_full_disk_stops_nothing_and_is_said_once(caplog):
    with Audit("/dev/full") as audit:
        for step in range(3):
            audit.committed(StepCommitted("s", step, 0.0, 0.0))

    assert audit.lines.lost == 3
    assert len(caplog.records) == 1
    assert os.strerror(errno.ENOSPC) in caplog.text


def test_when_there_is_room_again_it_goes_on_and_tells_what_is_lost(path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Audit(path) as audit:
        audit.committed(StepCommitted("s", 0, 0.0, 0.0))
        room = path.stat().st_size + 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            audit.committed(StepCommitted("s", 1, 0.0, 0.0))
            audit.committed(StepCommitted("s", 2, 0.0, 0.0))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        audit.committed(StepCommitted("s", 3, 0.0, 0.0))

    first, torn, gap, last = path.read_text().splitlines()
    assert json.loads(first)["step"] == 0
    assert len(torn) == 10
    assert json.loads(gap)["lines"] == audit.lines.lost == 2
    assert json.loads(last)["step"] == 3


def test_nothing_grows_with_sessions_that_are_gone(path):
    with Audit(path) as audit:
        for number in range(100):
            audit.opened(str(number), ANN)
            audit.left(str(number))
            audit.closed(str(number), "idle")
            audit.left(str(number))
            audit.carried(str(number), 1, 1)

        assert len(audit.traffic) == 0


def test_events_after_close_are_ignored(path):
    audit = Audit(path)
    audit.close()

    audit.closed("s", "stopped")
    audit.close()

    assert path.read_text() == ""


def test_a_flood_of_refusals_is_a_few_lines_and_a_count_for_each(path):
    mallory = Caller(peer="ipv4:10.0.0.9:1")
    with Audit(path) as audit:
        for _ in range(5000):
            audit.refused("", mallory, "unauthenticated")
        audit.refused("", Caller("ann"), "shape")
        audit.committed(StepCommitted("s", 0, 0.1, 0.2))

    lines = records(path)
    mine = [r for r in lines if r.get("peer") == mallory.peer]
    more = [r["lines"] for r in lines if r.get("whose") == "10.0.0.9"]
    assert len(mine) < 30 and len(mine) + sum(more) == 5000
    assert [r["client"] for r in lines if r.get("client")] == ["ann"]
    assert [r["step"] for r in lines if r["event"] == "step"] == [0]


def test_a_body_that_is_set_back_again_and_again_fills_no_disk(path):
    with Audit(path) as audit:
        for _ in range(1000):
            audit.restored("s", "tag")
            audit.checkpointed("state", 0.1)

    assert len(path.read_bytes()) < 10_000


def test_a_cohort_is_in_it_with_who_took_part_and_who_did_not(path):
    with Audit(path) as audit:
        audit.enrolled("s", 0)
        audit.merged(StepMerged(3, (0, 2), (1,), 0.5, 32))
        audit.round_begun(1, (0, 1))
        audit.round_ended(RoundEnded(1, (0,), (1,), 2.5, 2))
        audit.away("s", 0)

    took = {"members": [0, 2], "dropped": [1], "seconds": 0.5}
    ended = {"members": [0], "dropped": [1], "seconds": 2.5}
    assert told(path) == [
        {"event": "enrolled", "session": "s", "member": 0},
        {"event": "merged", "step": 3, **took},
        {"event": "round_begun", "round": 1, "members": [0, 1]},
        {"event": "round_ended", "round": 1, **ended},
        {"event": "away", "session": "s", "member": 0},
    ]
