import threading
import time

import pytest

from keras_split.server.endpoint_stream import ahead


def wait(event):
    assert event.wait(20)


def test_items_come_in_order():
    given = ahead(lambda put: (n for n in range(100)), 3)

    assert list(given) == list(range(100))


def test_the_next_item_is_made_while_one_is_used():
    made = threading.Event()

    def items(put):
        yield 0
        made.set()
        yield 1

    given = ahead(items, 1)
    first = next(given)
    wait(made)

    assert (first, list(given)) == (0, [1])


def test_no_more_than_so_many_wait():
    made, third = [], threading.Event()

    def items(put):
        for number in range(10):
            made.append(number)
            if number == 3:
                third.set()
            yield number

    given = ahead(items, 2)
    next(given)

    assert not third.wait(0.1)
    assert max(made) < 3
    assert list(given) == list(range(1, 10))


def test_an_error_comes_after_the_items():
    def items(put):
        yield 1
        raise ValueError("broken")

    given = ahead(items, 4)

    assert next(given) == 1
    with pytest.raises(ValueError, match="broken"):
        next(given)


@pytest.mark.parametrize("most", [1, 100])
def test_who_is_closed_closes_the_generator(most):
    closed = threading.Event()

    def items(put):
        try:
            yield from range(10)
        finally:
            closed.set()

    given = ahead(items, most)
    next(given)
    given.close()

    wait(closed)


def test_what_cannot_wait_is_given_before_the_next_item():
    gone_on = threading.Event()

    def items(put):
        put("early")
        wait(gone_on)
        yield "late"

    given = ahead(items, 1)

    assert next(given) == "early"
    gone_on.set()
    assert list(given) == ["late"]


def test_what_cannot_wait_counts_for_what_comes_after_it():
    made = []

    def items(put):
        for number in range(20):
            made.append(number)
            put(f"early {number}")
            yield f"late {number}"

    given = ahead(items, 4)
    first = next(given)
    time.sleep(0.1)

    assert first == "early 0"
    assert len(made) <= 3  # four wait, and one more that could not
    assert len(list(given)) == 39
