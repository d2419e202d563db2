import logging

from keras_split.server.flood import Flood
from keras_split.server.flood import Tracebacks


def test_a_peer_gets_back_so_many_lines_a_second():
    now = [0.0]
    lines = Flood(burst=2, per_s=1, clock=lambda: now[0])
    at_once = [lines.take("a") for _ in range(3)]

    now[0] = 1.5

    assert at_once == [True, True, False]
    assert [lines.take("a") for _ in range(2)] == [True, False]
    assert lines.dropped() == {"a": 2}
    assert lines.dropped() == {}


def test_many_peers_together_have_an_end_too():
    lines = Flood(burst=2, per_s=0.001, peers=5)

    taken = sum(lines.take(f"peer {i}") for i in range(10_000))
    dropped = lines.dropped()

    assert taken == 10
    assert sum(dropped.values()) == 9_990 and len(dropped) < 300


def test_tracebacks_of_one_peer_are_counted_after_a_few(caplog):
    tracebacks = Tracebacks(Flood(burst=2, per_s=1e-6))
    caplog.set_level(logging.ERROR)

    for peer in "aaaab":
        try:
            raise ValueError("no")
        except ValueError:
            tracebacks.log(peer, "it failed")

    assert [record.message for record in caplog.records] == [
        "it failed",
        "it failed",
        "it failed (2 more since the last)",
    ]
