import threading
from types import SimpleNamespace

import pytest

from keras_split.server import fair_lock
from keras_split.server.fair_lock import FairLock


def test_a_turn_is_held_alone():
    turns = FairLock()
    inside, most = [], []

    def work(key):
        for _ in range(50):
            with turns.take(key):
                inside.append(key)
                most.append(len(inside))
                inside.remove(key)

    run([lambda key=key: work(key) for key in "abcd"])

    assert len(most) == 200
    assert max(most) == 1


def test_keys_take_turns_however_many_wait_under_one():
    turns = FairLock()
    order = []

    def work(key):
        with turns.take(key):
            order.append(key)

    with turns.take("first"):
        threads = [start(work, "greedy") for _ in range(5)]
        wait_for(turns, 5)
        threads.append(start(work, "modest"))
        wait_for(turns, 6)
    for thread in threads:
        thread.join()

    assert order.index("modest") == 1
    assert len(order) == 6


def test_a_turn_that_fails_is_passed_on():
    turns = FairLock()
    try:
        with turns.take("a"):
            raise ValueError
    except ValueError:
        pass

    with turns.take("a") as waited_s:
        assert waited_s >= 0


@pytest.mark.parametrize("came", [False, True])
def test_a_turn_that_somebody_waits_for_no_more_is_passed_on(monkeypatch, came):
    turns = FairLock()
    first = turns.take("a")
    first.__enter__()

    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            if came:  # in the same moment
                first.__exit__(None, None, None)
            raise KeyboardInterrupt

    events = SimpleNamespace(Event=Interrupted)
    monkeypatch.setattr(fair_lock, "threading", events)
    with pytest.raises(KeyboardInterrupt), turns.take("b"):
        pass
    monkeypatch.undo()
    if not came:
        first.__exit__(None, None, None)

    def take():
        with turns.take("c"):
            pass

    run([take])


def start(function, *values):
    thread = threading.Thread(target=function, args=values, daemon=True)
    thread.start()
    return thread


def run(functions):
    for thread in [start(function) for function in functions]:
        thread.join(30)
        assert not thread.is_alive()


def wait_for(turns, count):
    while sum(map(len, turns._waiting.values())) < count:
        pass
