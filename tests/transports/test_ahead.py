import threading

import pytest

from keras_split.transports.ahead import ahead


def wait(event):
    assert event.wait(20)


def test_items_come_in_order():
    assert list(ahead((n for n in range(100)), 3)) == list(range(100))


def test_the_next_item_is_made_while_one_is_used():
    made = threading.Event()

    def items():
        yield 0
        made.set()
        yield 1

    items = ahead(items(), 1)
    first = next(items)
    wait(made)

    assert (first, list(items)) == (0, [1])


def test_no_more_than_so_many_wait():
    made, third = [], threading.Event()

    def items():
        for number in range(10):
            made.append(number)
            if number == 3:
                third.set()
            yield number

    items = ahead(items(), 2)
    next(items)

    assert not third.wait(0.1)
    assert max(made) < 3
    assert list(items) == list(range(1, 10))


def test_an_error_comes_after_the_items():
    def items():
        yield 1
        raise ValueError("broken")

    items = ahead(items(), 4)

    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


@pytest.mark.parametrize("most", [1, 100])
def test_who_is_closed_closes_the_generator(most):
    closed = threading.Event()

    def items():
        try:
            yield from range(10)
        finally:
            closed.set()

    items = ahead(items(), most)
    next(items)
    items.close()

    wait(closed)
