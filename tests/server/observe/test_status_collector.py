import mmap
import threading
from dataclasses import replace

from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.reasons import REASONS
from keras_split.protocol.status import CohortStatus
from keras_split.protocol.status import RoundStatus
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import StepCommitted
from keras_split.server.callbacks import StepMerged
from keras_split.server.observe.status_collector import StatusCollector
from keras_split.server.observe.status_collector import resident_bytes

ANN = Caller("ann", "ipv4:10.0.0.2:4000")


def tally():
    return StatusCollector("f" * 64, ["first", "second"])


def rows(made):
    return {row.label: row for row in made.status().sessions}


def test_it_tells_what_is_served():
    status = tally().status()

    assert (status.fingerprint, status.cut) == ("f" * 64, ("first", "second"))
    assert status.uptime_s >= 0
    assert status.checkpoint_age_s is None


def test_a_session_has_a_row_with_its_steps_and_bytes():
    made = tally()

    made.opened("s", ANN)
    made.carried("s", 100, 20)
    made.committed(StepCommitted("s", 0, 0.0, 0.0))
    made.committed(StepCommitted("s", 1, 0.0, 0.0))

    row = rows(made)["s"]
    assert (row.client, row.peer) == ("ann", "ipv4:10.0.0.2:4000")
    assert (row.steps, row.uplink_bytes, row.downlink_bytes) == (2, 100, 20)
    assert row.connected and row.idle_s >= 0


def test_a_client_that_left_and_came_back_is_shown_as_it_is():
    made = tally()
    made.opened("s", ANN)

    made.left("s")
    gone = rows(made)["s"]
    made.resumed("s", Caller("ann", "ipv4:10.0.0.3:4001"), 7)
    back = rows(made)["s"]

    assert not gone.connected
    assert back.connected
    assert (back.peer, back.steps) == ("ipv4:10.0.0.3:4001", 7)


def test_sessions_of_a_checkpoint_wait_for_their_clients():
    made = tally()

    made.loaded("path", {"s": 5})
    waiting = rows(made)["s"]
    made.committed(StepCommitted("s", 5, 0.0, 0.0))

    assert (waiting.steps, waiting.connected) == (5, False)
    assert rows(made)["s"].steps == 6
    assert made.status().steps == 1
    assert made.status().checkpoint_age_s >= 0


def test_a_closed_session_disappears_and_the_totals_stay():
    made = tally()
    made.opened("s", ANN)
    made.carried("s", 100, 20)
    made.committed(StepCommitted("s", 0, 0.0, 0.0))

    made.closed("s", "goodbye")
    made.carried("s", 1, 2)  # the reply to its goodbye
    made.left("s")

    status = made.status()
    assert status.sessions == ()
    assert (status.steps, status.uplink_bytes, status.downlink_bytes) == (
        1,
        101,
        22,
    )


def test_nothing_grows_with_sessions_that_are_gone_or_reasons_made_up():
    made = tally()

    for number in range(1000):
        made.opened(str(number), ANN)
        made.closed(str(number), "idle")
        made.refused("", ANN, f"reason {number}")
        made.committed(StepCommitted("never opened", 0, 0.0, 0.0))

    assert made.status().sessions == ()
    assert made.status().refusals == {"other": 1000}
    assert len(made._sessions) == 0


def test_refusals_are_counted_by_reason():
    made = tally()

    for reason in ("shape", "shape", "busy"):
        made.refused("s", ANN, reason)

    assert made.status().refusals == {"shape": 2, "busy": 1}
    assert {"shape", "busy"} <= REASONS


def test_a_checkpoint_has_an_age_from_then_on():
    made = tally()

    made.checkpointed("path", 0.1)

    first = made.status().checkpoint_age_s
    assert 0 <= first <= made.status().checkpoint_age_s


def test_no_count_is_lost_between_threads():
    made = tally()
    made.opened("s", ANN)

    def work():
        for step in range(2000):
            made.committed(StepCommitted("s", step, 0.0, 0.0))
            made.carried("s", 3, 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        made.status()
    for thread in threads:
        thread.join()

    assert made.status().steps == 8000
    assert rows(made)["s"].uplink_bytes == 24000


def test_memory_is_what_the_process_has_in_use():
    before = resident_bytes()
    # Of its own: what was freed before would take in an array.
    with mmap.mmap(-1, 50_000_000) as block:
        block.write(b"\1" * 50_000_000)
        assert resident_bytes() - before > 40_000_000


def test_a_cohort_is_told_with_who_is_in_and_how_the_last_round_went():
    made = tally()
    assert made.status().cohort is None
    made.cohort = lambda: CohortInfo("c" * 32, "shared", 3, secure=True)

    for member, session in enumerate(("s", "t", "u")):
        made.enrolled(session, member)
    made.away("t", 1)
    made.round_ended(RoundEnded(4, (0, 2), (1,), 2.5))

    round_times = made.status().cohort.round_times
    assert (round_times.count, round_times.total_s) == (1, 2.5)
    assert replace(
        made.status().cohort, step_times=round_times
    ) == CohortStatus(
        name="c" * 32,
        mode="shared",
        phones=3,
        secure=True,
        members=3,
        present={0: "s", 2: "u"},
        number=4,
        rounds=1,
        last_s=2.5,
        last_dropped=(1,),
        left_out=1,
        step_times=round_times,
        round_times=round_times,
        recent=(RoundStatus(4, False, 2.5, (0, 2), (1,)),),
    )


def test_merged_steps_are_counted():
    made = tally()
    made.cohort = lambda: CohortInfo("c" * 32, "merged", 2)

    made.merged(StepMerged(0, (0,), (1,), 0.5, 8))
    made.merged(StepMerged(1, (0, 1), (), 0.25, 8))

    cohort = made.status().cohort
    assert (cohort.steps, cohort.number, cohort.last_s) == (2, 1, 0.25)
    assert cohort.last_dropped == ()


def test_what_is_left_of_the_last_rounds_is_bounded():
    made = tally()
    made.cohort = lambda: CohortInfo("c" * 32, "merged", 2)

    for step in range(100):
        made.merged(StepMerged(step, (0, 1), (2,), 0.5, 8))
    made.round_ended(RoundEnded(7, (0,), (1, 2), 2.0))

    cohort = made.status().cohort
    assert [one.number for one in cohort.recent] == [*range(85, 100), 7]
    assert cohort.recent[-1] == RoundStatus(7, False, 2.0, (0,), (1, 2))
    assert cohort.left_out == 102
    assert (cohort.steps, cohort.rounds) == (100, 1)
    assert (cohort.step_times.total_s, cohort.round_times.total_s) == (50, 2)


def test_times_of_steps_and_checkpoints_are_kept():
    made = tally()
    made.committed(StepCommitted("s", 0, 0.02, 0.3))
    made.committed(StepCommitted("s", 1, 0.2, 0.5))
    made.checkpointed("path", 0.25)

    status = made.status()
    assert (status.queue_times.count, status.compute_times.count) == (2, 2)
    assert status.queue_times.total_s == 0.22
    assert status.compute_times.mean_s == 0.4
    assert status.checkpoint_times.total_s == 0.25


def test_sessions_are_counted_from_begin_to_end():
    made = tally()
    for session in ("s", "t", "u"):
        made.opened(session, ANN)
    made.resumed("s", ANN, 4)
    made.closed("s", "goodbye")
    made.closed("t", "a reason of nobody's")

    status = made.status()
    assert (status.sessions_opened, status.sessions_resumed) == (3, 1)
    assert status.sessions_closed == {"goodbye": 1, "other": 1}
