import threading

from keras_split.server.budget import Budget
from keras_split.server.budget import Share


def test_what_is_taken_is_missing_for_others_until_it_is_freed():
    budget = Budget(100)
    one, other = Share(budget), Share(budget)

    assert one.take(60) and one.take(40)
    assert not other.take(1)
    one.free()
    assert other.take(100)


def test_what_was_refused_is_not_held():
    budget = Budget(100)
    one = Share(budget)

    assert not one.take(101)
    one.free()

    assert Share(budget).take(100)
    assert not Share(budget).take(1)


def test_threads_lose_no_byte():
    budget = Budget(1000)

    def work():
        share = Share(budget)
        for _ in range(500):
            share.take(7)
            share.take(3)
            share.free()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert Share(budget).take(1000)
