import threading

import numpy as np

from keras_split.protocol.reasons import REASONS
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import StepCommitted
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
    block = np.ones(50_000_000, np.uint8)

    assert resident_bytes() - before > 40_000_000
    assert block.nbytes == 50_000_000
