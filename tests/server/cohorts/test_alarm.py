import queue
import time

from keras_split.server.cohorts.alarm import Alarm

WAIT_S = 30.0


def test_calls_come_in_the_order_of_their_times():
    alarm, came = Alarm(), queue.Queue()

    alarm.after(0.2, lambda: came.put("late"))
    time.sleep(0.05)  # its thread sleeps until then
    alarm.after(0.3, lambda: came.put("last"))
    alarm.after(0.01, lambda: came.put("soon"))

    assert [came.get(timeout=WAIT_S) for _ in range(3)] == [
        *("soon", "late", "last")
    ]


def test_what_is_cancelled_does_not_come():
    alarm, came = Alarm(), queue.Queue()

    alarm.after(0.01, lambda: came.put("cancelled")).cancel()
    alarm.after(0.02, lambda: came.put("other"))

    assert came.get(timeout=WAIT_S) == "other"
    assert came.empty()
